"""``prodchain put``: files of this machine into a dataset, all or none."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from prodchain.broker.client import Document
from prodchain.catalog.copy import copy
from prodchain.catalog.errors import CatalogError
from prodchain.catalog.names import Did, parse_did

from ..copying import Content, content_of
from ..errors import FailedWork, NotAllowed, NotFound, Usage
from ..fetch import THREADS, Progress
from ..options import chosen
from ..output import say, show_item
from ..progress import bar
from .dataset import LINES


def put(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Files; their names are kept.")],
    dataset: Annotated[str, typer.Option(metavar="NAME", help="Dataset that gets them; made if it is new.")],
    storage: Annotated[str | None, typer.Option(help="Where to; the server chooses if not given.")] = None,
    events: Annotated[int, typer.Option(min=0, help="Events in each file.")] = 0,
    kind: Annotated[str, typer.Option(help="Kind of the dataset if it is new: user, production.")] = "user",
) -> None:
    """Copy files into a dataset: all of them become part of it, or none.

    Run it again after an interruption; putting the same files twice changes nothing.

    Examples:
      prodchain put a.root b.root --dataset user.ada.zmumu.NTUP.v1
      prodchain put *.root --dataset user.ada.zmumu.NTUP.v1 --events 1000
    """
    did = parse_did(dataset)
    contents = _contents(files)
    wanted = {
        "dataset": str(did),
        "storage": storage,
        "kind": kind,
        "files": [_entry(did, path.name, content, events) for path, content in contents.items()],
    }
    with chosen().client() as client:
        where = client.uploads(wanted)
        # The second call must mean the storage that the first one chose.
        wanted["storage"] = where["storage"]
        urls = {file["name"]: file["url"] for file in where["files"] if not file["present"]}
        with bar() as progress:
            _upload({path: content for path, content in contents.items() if path.name in urls}, urls, progress)
        result = client.commit_upload(wanted)
    say(f"{result['did']}: {len(files)} files at {where['storage']}, {len(files) - len(urls)} were there already")
    show_item(result, LINES)


def _contents(files: list[Path]) -> dict[Path, Content]:
    """Read each file once before anything is asked for: what it is goes with the question."""
    twice = {path.name for path in files if sum(path.name == other.name for other in files) > 1}
    if twice:
        raise Usage("two files have the same name", object=min(twice), hint="rename one of them")
    try:
        return {path: content_of(path) for path in files}
    except FileNotFoundError as error:
        raise NotFound("no such file", object=str(error.filename), hint="name existing files") from None
    except OSError as error:
        message = f"cannot read the file: {error.strerror}"
        raise NotAllowed(message, object=str(error.filename), hint="name files that you can read") from None


def _entry(did: Did, name: str, content: Content, events: int) -> Document:
    """The file's GUID follows from what it is, so that a repeated put names the same file."""
    guid = uuid.uuid5(uuid.NAMESPACE_URL, f"{did.scope}:{name}#{content.bytes}-{content.adler32}")
    return {"name": name, "guid": str(guid), "bytes": content.bytes, "adler32": content.adler32, "events": events}


def _upload(contents: dict[Path, Content], urls: dict[str, str], progress: Progress) -> None:
    progress.begin(len(contents), sum(content.bytes for content in contents.values()))

    def one(item: tuple[Path, Content]) -> None:
        path, content = item
        try:
            copy(f"file://{path.absolute()}", urls[path.name], content.bytes, content.adler32)
        except CatalogError as failure:
            raise FailedWork(
                f"{path.name} could not be copied: {failure}; nothing was registered",
                object=urls[path.name],
                hint=f"{failure.hint}; then run the same command again",
            ) from None
        progress.moved(content.bytes)
        progress.done(path.name)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, contents.items()))
