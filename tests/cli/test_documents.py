"""Files that commands take are said to be missing, closed or no text in one way."""

from pathlib import Path

import pytest

from prodchain.cli.documents import text_of
from prodchain.cli.errors import NotAllowed, NotFound, Usage


def test_a_file_that_cannot_be_taken_is_named_with_what_it_should_be(tmp_path: Path) -> None:
    file = tmp_path / "shares.toml"
    with pytest.raises(NotFound, match="no such file") as missing:
        text_of(file, "shares")
    assert (missing.value.object, missing.value.hint) == (str(file), "name a file with shares")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Usage, match="the file is no text"):
        text_of(file, "shares")
    with pytest.raises(NotAllowed, match="Is a directory"):
        text_of(tmp_path, "shares")
    file.write_text("x = 1")
    assert text_of(file, "shares") == "x = 1"
