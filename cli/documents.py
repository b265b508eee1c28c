"""Documents that commands take from files."""

from pathlib import Path

from .errors import NotAllowed, NotFound, Usage


def text_of(file: Path, what: str) -> str:
    """The text of a file that is to be ``what``."""
    try:
        return file.read_text()
    except FileNotFoundError:
        raise NotFound("no such file", object=str(file), hint=f"name a file with {what}") from None
    except UnicodeDecodeError:
        raise Usage("the file is no text", object=str(file), hint=f"name a file with {what}") from None
    except OSError as error:
        raise NotAllowed(
            f"cannot read the file: {error.strerror}", object=str(file), hint="name a file that you can read"
        ) from None
