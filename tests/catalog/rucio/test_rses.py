"""RSEs of our storages: Rucio computes the URLs under which our files already are."""

import pytest

from prodchain.catalog import names
from prodchain.catalog.errors import BadStorage
from prodchain.catalog.models import Storage
from prodchain.catalog.names import Did
from prodchain.catalog.rucio import rses
from prodchain.catalog.rucio.catalog import RucioCatalog
from prodchain.catalog.rucio.client import Client

from .test_conformance import file

SCOPES = ("mc26", "user.ada", "group.higgs.run3", "data26_13p6TeV", "useruno.x")


def storage(name: str, url: str, **attributes: str) -> Storage:
    return Storage(id=1, name=name, site="SITE", url=url, attributes=attributes or None)


@pytest.mark.parametrize("scope", SCOPES)
async def test_no_file_moves_since_rucio_computes_the_same_url(
    rucio: RucioCatalog, rucio_places: list[Storage], tag: str, scope: str
) -> None:
    did = Did(scope, f"{scope}.{tag}.AOD.v1")
    files = [file(did, number) for number in range(3)]
    await rucio.create(did)
    for place in rucio_places:
        await rucio.register(place.name, files)
    await rucio.add(did, [each.did for each in files])
    for found in await rucio.files(did):
        for place in rucio_places:
            ours = names.url_of(place.url, found.did)
            assert found.urls[place.name].replace("file://localhost/", "file:///") == ours


async def test_every_storage_without_an_rse_gets_one_once(client: Client, tag: str) -> None:
    new = storage(f"disk-{tag}", "s3+https://s3.example.org/bucket/data")
    assert await rses.missing(client, [new]) == [new]
    await rses.make(client, new)
    assert await rses.missing(client, [new]) == []
    answer = await client.call("GET", "rses", f"DISK-{tag.upper()}", "protocols", about=tag)
    assert answer.json()[0]["prefix"] == "/bucket/data/"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("root://h.example.org//data", ("root", "h.example.org", 1094, "//data/")),
        ("https://h.example.org/data/", ("https", "h.example.org", 443, "/data/")),
        ("file:///srv/data", ("file", "localhost", 0, "/srv/data/")),
        ("sftp://h.example.org:2222/data", ("sftp", "h.example.org", 2222, "/data/")),
    ],
)
def test_the_protocol_follows_from_the_url(url: str, expected: tuple[str, str, int, str]) -> None:
    assert rses.protocol_of(storage("DISK", url))[:4] == expected


def test_a_name_that_no_rse_can_have_is_told_with_the_attribute_that_helps() -> None:
    with pytest.raises(BadStorage) as caught:
        rses.name_of(storage("disk.a", "file:///a"))
    assert "rucio_rse" in caught.value.hint
    assert rses.name_of(storage("disk.a", "file:///a", rucio_rse="DISK_A")) == "DISK_A"


async def test_two_storages_are_not_one_rse(client: Client) -> None:
    with pytest.raises(BadStorage, match="same RSE"):
        await rses.missing(client, [storage("disk-a", "file:///a"), storage("DISK-A", "file:///b")])
