"""What a catalog has to do, held against ours and against a real Rucio server."""

import zlib
from dataclasses import replace
from uuid import NAMESPACE_URL, uuid5

import pytest

from prodchain.catalog import names
from prodchain.catalog.connection import Pool
from prodchain.catalog.errors import DatasetClosed, DatasetConflict, DatasetNotFound, FileConflict
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import Storage
from prodchain.catalog.names import Did
from prodchain.catalog.port import Catalog
from prodchain.catalog.rucio.catalog import RucioCatalog

from .own import OwnCatalog


@pytest.fixture(params=["own", "rucio"])
def catalog(request: pytest.FixtureRequest, database: Pool, places: list[Storage]) -> Catalog:
    """Each catalog in turn, with the storages DISK-A to DISK-D."""
    if request.param == "own":
        return OwnCatalog(database)
    request.getfixturevalue("rucio_places")
    rucio: RucioCatalog = request.getfixturevalue("rucio")
    return rucio


def dataset(tag: str, format_: str = "AOD", scope: str = "mc26") -> Did:
    return Did(scope, f"mc26.700001.{tag}.recon.{format_}.v1")


def file(dataset: Did, number: int, content: bytes = b"") -> NewFile:
    did = Did(dataset.scope, names.file_name(dataset.name, number, 1))
    content = content or f"content {number}".encode()
    return NewFile(did, uuid5(NAMESPACE_URL, str(did)), len(content), f"{zlib.adler32(content):08x}", 10)


async def filled(catalog: Catalog, did: Did, count: int, *storages: str) -> list[NewFile]:
    files = [file(did, number) for number in range(count)]
    await catalog.create(did)
    for storage in storages:
        await catalog.register(storage, files)
    await catalog.add(did, [each.did for each in files])
    return files


async def test_a_dataset_lists_its_files_with_the_url_of_each_copy(catalog: Catalog, tag: str) -> None:
    did = dataset(tag)
    files = await filled(catalog, did, 3, "DISK-A", "DISK-B")
    found = await catalog.files(did)
    assert [(each.did, each.bytes, each.adler32) for each in found] == [(f.did, f.bytes, f.adler32) for f in files]
    assert found[0].urls == {
        "DISK-A": names.url_of("root://a.example.org:1094//data/a", files[0].did),
        "DISK-B": names.url_of("https://b.example.org:1094/data/b", files[0].did),
    }


async def test_everything_may_be_said_twice(catalog: Catalog, tag: str) -> None:
    did = dataset(tag)
    for _ in range(2):
        await filled(catalog, did, 2, "DISK-A")
    await catalog.close(did)
    await catalog.close(did)
    await catalog.add(did, [file(did, 1).did])  # a member already
    assert await catalog.completeness(did) == {"DISK-A": (2, 2)}


async def test_completeness_counts_what_each_storage_has(catalog: Catalog, tag: str) -> None:
    did = dataset(tag)
    files = await filled(catalog, did, 3, "DISK-A")
    await catalog.register("DISK-C", files[:1])
    assert await catalog.completeness(did) == {"DISK-A": (3, 3), "DISK-C": (1, 3)}


async def test_a_new_dataset_is_empty_open_and_nowhere(catalog: Catalog, tag: str) -> None:
    did = dataset(tag)
    await catalog.create(did)
    known = await catalog.get(did)
    assert (known.container, known.open) == (False, True)
    assert await catalog.files(did) == []
    assert await catalog.completeness(did) == {}


async def test_nothing_joins_a_closed_dataset(catalog: Catalog, tag: str) -> None:
    did = dataset(tag)
    await filled(catalog, did, 1, "DISK-A")
    await catalog.close(did)
    assert not (await catalog.get(did)).open
    late = file(did, 99)
    await catalog.register("DISK-A", [late])
    with pytest.raises(DatasetClosed):
        await catalog.add(did, [late.did])
    assert len(await catalog.files(did)) == 1


async def test_a_file_is_not_registered_with_other_content(catalog: Catalog, tag: str) -> None:
    did = dataset(tag)
    await filled(catalog, did, 1, "DISK-A")
    with pytest.raises(FileConflict) as caught:
        await catalog.register("DISK-B", [file(did, 0, b"something else")])
    assert caught.value.object == str(file(did, 0).did)
    assert await catalog.completeness(did) == {"DISK-A": (1, 1)}


async def test_a_missing_dataset_is_named(catalog: Catalog, tag: str) -> None:
    did = dataset(tag)
    for question in (catalog.get, catalog.files, catalog.completeness, catalog.close):
        with pytest.raises(DatasetNotFound) as caught:
            await question(did)
        assert caught.value.object == str(did)
    with pytest.raises(DatasetNotFound):
        await catalog.add(did, [file(did, 1).did])


async def test_wildcards_search_all_scopes_or_one(catalog: Catalog, tag: str) -> None:
    dids = [dataset(tag, "AOD"), dataset(tag, "RDO"), dataset(tag, "RAW"), dataset(tag, "AOD", f"user.{tag}")]
    for did in dids:
        await catalog.create(did)
    assert await catalog.find(f"*{tag}*AOD*") == [dids[0], dids[3]]
    assert await catalog.find(f"user.*:*{tag}*") == [dids[3]]
    assert await catalog.find(f"mc26:mc26.??????.{tag}.recon.R?O.v1") == [dids[1]]
    assert await catalog.find(f"mc26.700001.{tag}.recon.AOD.v1") == [dids[0], dids[3]]
    assert await catalog.find(f"*{tag}_none*") == []


async def test_an_underscore_in_a_pattern_means_itself(catalog: Catalog, tag: str) -> None:
    plain, scored = dataset(f"{tag}xb"), dataset(f"{tag}_b")
    await catalog.create(plain)
    await catalog.create(scored)
    assert await catalog.find(f"*{tag}_b*") == [scored]


async def test_a_container_holds_datasets_and_containers(catalog: Catalog, tag: str) -> None:
    inner, outer, did = dataset(f"{tag}in"), dataset(f"{tag}out"), dataset(tag)
    await catalog.create(inner, container=True)
    await catalog.create(outer, container=True)
    await filled(catalog, did, 1, "DISK-A")
    for _ in range(2):
        await catalog.add(inner, [did])
        await catalog.add(outer, [inner])
    assert (await catalog.get(outer)).container


async def test_a_dataset_and_a_container_do_not_share_a_name(catalog: Catalog, tag: str) -> None:
    await catalog.create(dataset(tag))
    with pytest.raises(DatasetConflict):
        await catalog.create(dataset(tag), container=True)


async def test_more_files_than_fit_into_one_call(catalog: Catalog, tag: str) -> None:
    did = dataset(tag)
    files = [replace(file(did, number), events=0) for number in range(1001)]  # events are Rucio's slowest part
    await catalog.create(did)
    await catalog.register("DISK-D", files)
    await catalog.add(did, [each.did for each in files])
    assert await catalog.completeness(did) == {"DISK-D": (1001, 1001)}
