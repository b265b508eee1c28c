"""The payload's log as the broker gets it: in pieces, with offsets in characters, and never more than 1 MB."""

from __future__ import annotations

import codecs
from pathlib import Path

PIECE = 64_000
"""Most bytes (and so characters) of one piece."""
HEAD, TAIL = 900_000, 64_000
"""Bytes sent from the start of a log, and from its end if it is longer than both together."""


class LogTail:
    """Reads a growing file; ``piece`` repeats itself until it is acknowledged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._position = 0  # bytes read
        self._end: int | None = None  # bytes of the whole log, known when the payload is over
        self._offset = 0  # characters acknowledged
        self._text = ""  # read, not acknowledged yet

    def piece(self) -> tuple[int, str]:
        """Offset and text of the next piece; the text is empty when there is nothing new."""
        if not self._text:
            self._text = self._read()
        return self._offset, self._text

    def acknowledge(self) -> None:
        """The broker has the last piece."""
        self._offset += len(self._text)
        self._text = ""

    def finish(self) -> None:
        """The payload is over: what the log holds now is all that there will be."""
        if self._end is None:
            self._end = self._size()

    @property
    def more(self) -> bool:
        """Whether a finished log goes on after the piece at hand."""
        return self._end is not None and self._position < self._end

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return self._position  # not there yet, or its file system is gone

    def _read(self) -> str:
        marker = ""
        if self._end is None or self._position < HEAD:
            limit = min(self._size() if self._end is None else self._end, HEAD)
        else:
            limit = self._end
            left_out = limit - TAIL - self._position
            if left_out > 0 and self._position == HEAD:
                marker = f"\n[the pilot left out {left_out} bytes of the log here]\n"
                self._position += left_out
                self._decoder.reset()
        return marker + self._decode(min(PIECE, limit - self._position))

    def _decode(self, want: int) -> str:
        if want <= 0:
            return ""
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read(want)
        self._position += len(data)
        text = self._decoder.decode(data, final=self._position == self._end)
        return text.replace("\0", "\ufffd")  # PostgreSQL's text takes no NUL
