"""Files are registered once, with content that never changes under a name."""

import math
from dataclasses import replace
from typing import Any

import pytest

from prodchain.catalog import files
from prodchain.catalog.connection import Connection
from prodchain.catalog.errors import BadName, FileConflict

from .material import new_file

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


async def test_ids_come_in_the_order_of_the_files_however_often_they_are_told(conn: Connection) -> None:
    one, two, three = (new_file(number) for number in (1, 2, 3))
    first = await files.register(conn, [two, one, two])
    assert first[0] == first[2] != first[1]
    again = await files.register(conn, [three, one, two])
    assert again[1:] == [first[1], first[0]]
    assert await files.register(conn, []) == []


async def test_md5_and_metadata_are_kept_with_the_file(conn: Connection) -> None:
    file = replace(new_file(1), md5=MD5, meta={"lumiblock": 7, "note": "ä"})
    (key,) = await files.register(conn, [file])
    row = await conn.fetchrow(
        "SELECT md5, meta->>'lumiblock' AS block, meta->>'note' AS note FROM file WHERE id = $1", key
    )
    assert dict(row or {}) == {"md5": MD5, "block": "7", "note": "ä"}
    assert await files.register(conn, [new_file(1)]) == [key]


@pytest.mark.parametrize("other", [{"bytes": 2}, {"adler32": "00000000"}, {"md5": "0" * 32}])
async def test_other_content_under_the_same_name_is_refused(conn: Connection, other: dict[str, Any]) -> None:
    file = replace(new_file(1), md5=MD5)
    changed = replace(file, **other)
    with pytest.raises(FileConflict):
        await files.register(conn, [file, changed])
    await files.register(conn, [file])
    with pytest.raises(FileConflict, match="is known with"):
        await files.register(conn, [changed])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bytes": -1}, "-1 bytes"),
        ({"bytes": 2**63}, "bytes"),
        ({"events": -1}, "-1 events"),
        ({"adler32": "ABCDEF01"}, "adler32 'ABCDEF01'"),
        ({"adler32": "1"}, "adler32"),
        ({"md5": "x"}, "md5 'x'"),
        ({"meta": {"a": math.nan}}, "metadata"),
        ({"meta": {"a": object()}}, "metadata"),
        ({"meta": {"a": "x" * 10_001}}, "characters of metadata"),
        ({"meta": {"a\0": 1}}, "NUL"),
        ({"did": ("mc11", "../x")}, "is a path"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_the_database_sees_it(wrong: dict[str, Any], said: str) -> None:
    if "did" in wrong:
        wrong = {"did": type(new_file(1).did)(*wrong["did"])}
    with pytest.raises(BadName, match=said):
        replace(new_file(1), **wrong)
