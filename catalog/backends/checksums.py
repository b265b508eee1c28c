"""The adler32 of a file whose parts were summed up side by side."""

from collections.abc import Iterable
from typing import NamedTuple

_MODULUS = 65521


class Part(NamedTuple):
    """So many bytes of a file, one behind the other, and their adler32."""

    bytes: int
    adler32: int


def joined(parts: Iterable[Part]) -> str:
    """The sum of parts one behind the other, eight hex digits (zlib's adler32_combine)."""
    low, high = 1, 0
    for part in parts:
        high = (high + part.bytes * (low - 1) + (part.adler32 >> 16)) % _MODULUS
        low = (low + (part.adler32 & 0xFFFF) - 1) % _MODULUS
    return f"{high << 16 | low:08x}"
