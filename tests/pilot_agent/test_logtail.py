"""The log in pieces."""

from pathlib import Path

import pytest

from prodchain.pilot_agent.logtail import HEAD, PIECE, TAIL, LogTail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "payload.log"


def whole(tail: LogTail) -> str:
    """Read on as a broker would that acknowledges each piece."""
    text = ""
    while True:
        offset, piece = tail.piece()
        assert offset == len(text)
        if not piece:
            return text
        assert len(piece) <= PIECE + 100
        text += piece
        tail.acknowledge()


def test_a_log_that_is_not_there_yet_is_empty(path: Path) -> None:
    tail = LogTail(path)
    assert tail.piece() == (0, "")
    tail.finish()
    assert not tail.more


def test_a_piece_repeats_itself_until_it_is_acknowledged(path: Path) -> None:
    path.write_text("one")
    tail = LogTail(path)
    assert tail.piece() == tail.piece() == (0, "one")
    path.write_text("onetwo")
    assert tail.piece() == (0, "one")
    tail.acknowledge()
    assert tail.piece() == (3, "two")


def test_offsets_are_characters_even_where_a_character_is_cut(path: Path) -> None:
    content = "μ→eγ "
    data = content.encode()
    tail, text = LogTail(path), ""
    for end in range(1, len(data) + 1):
        path.write_bytes(data[:end])
        offset, piece = tail.piece()
        assert offset == len(text)
        text += piece
        tail.acknowledge()
    assert text == content


def test_bytes_that_are_no_text_and_nul_are_replaced(path: Path) -> None:
    path.write_bytes(b"a\xffb\0c\xe2")
    tail = LogTail(path)
    tail.finish()
    assert whole(tail) == "a\ufffdb\ufffdc\ufffd"


def test_a_long_log_loses_its_middle_and_says_so(path: Path) -> None:
    path.write_bytes(b"a" * HEAD + b"b" * 500_000 + b"c" * TAIL)
    tail = LogTail(path)
    assert whole(tail) == "a" * HEAD
    tail.finish()
    assert tail.more
    _, rest = tail.piece()
    assert rest.startswith("\n[the pilot left out 500000 bytes of the log here]\n")
    assert rest.endswith("]\n" + "c" * TAIL)
    tail.acknowledge()
    assert not tail.more
    assert tail.piece()[1] == ""


def test_a_log_that_just_fits_is_whole(path: Path) -> None:
    path.write_bytes(b"x" * (HEAD + TAIL))
    tail = LogTail(path)
    tail.finish()
    assert len(whole(tail)) == HEAD + TAIL < 1_000_000
