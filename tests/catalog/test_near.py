"""Near misses are found beyond the neighbours in a long list of names."""

import pytest

from prodchain.catalog import near
from prodchain.catalog.connection import Connection
from prodchain.catalog.names import Did, parse_did

from .material import new_dataset

TARGET = "mc11.007216.singlepart_mu18.recon.AOD.v11000303"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("007216", "009216"), ("singlepart", "snglepart"), ("recon", "reco"), ("mc11", "mc12"), ("AOD", "aod")],
)
async def test_a_field_that_is_wrong_is_found_again(conn: Connection, right: str, wrong: str) -> None:
    await new_dataset(conn, TARGET)
    for scope, number in (("mc11", "0073"), ("mc11", "0091"), ("mc12", "0072"), ("mc12", "0071")):
        for last in range(25):
            await new_dataset(conn, f"{scope}.{number}{last:02d}.other.recon.AOD.v11000303")
    assert (await near.misses(conn, parse_did(TARGET.replace(right, wrong))))[0] == Did("mc11", TARGET)


async def test_it_is_found_beyond_what_is_read_of_the_names_that_begin_alike(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "ONE_FIELD_OFF", near.ONE_FIELD_OFF.replace(f"LIMIT {near.MOST}", "LIMIT 5"))
    await new_dataset(conn, TARGET)
    for number in range(50):
        await new_dataset(conn, f"mc11.{number:06d}.other.recon.AOD.v11000303")
        await new_dataset(conn, f"mc11.{number + 9100:06d}.other.recon.AOD.v11000303")
    assert (await near.misses(conn, parse_did(TARGET.replace("007216", "009216"))))[0] == Did("mc11", TARGET)


async def test_a_user_name_is_found_in_its_scope(conn: Connection) -> None:
    await new_dataset(conn, "user.ada.thesis.v1")
    assert await near.misses(conn, parse_did("user.ada.theses.v1")) == [Did("user.ada", "user.ada.thesis.v1")]
    assert await near.misses(conn, parse_did("user.adam.thesis.v1")) == [Did("user.ada", "user.ada.thesis.v1")]
    assert await near.misses(conn, Did("x", "nothing")) == []
