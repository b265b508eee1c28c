"""Files that people bring: told where to put them, verified there, registered all or none."""

import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prodchain.broker import uploads
from prodchain.catalog import replicas
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.mover import Mover

from ..world import evgen
from .conftest import Broker, problem

CONTENT = {"one.root": b"the first file", "two.root": b"the second one"}
DATASET = "user.ann:user.ann.mine.v1"


def upload(**changes: Any) -> dict[str, Any]:
    brought = [
        {
            "name": name,
            "guid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "bytes": len(content),
            "adler32": f"{zlib.adler32(content):08X}",
            "events": 10,
        }
        for name, content in CONTENT.items()
    ]
    return {"dataset": DATASET, "kind": "user", "files": brought} | changes


def store(places: dict[str, Any], content: dict[str, bytes] = CONTENT) -> None:
    for item in places["files"]:
        path = Path(item["url"].removeprefix("file:"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[item["name"]])


def stored(places: dict[str, Any]) -> bool:
    return all(Path(item["url"].removeprefix("file:")).exists() for item in places["files"])


async def test_an_upload_is_planned_stored_and_committed_and_may_be_repeated(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    places = (await broker.post("/api/uploads", upload(), token)).json()
    assert places["storage"] == "A-DISK"
    assert [(item["name"], item["present"]) for item in places["files"]] == [("one.root", False), ("two.root", False)]
    store(places)

    first = await broker.post("/api/uploads/commit", upload(), token)
    assert first.status_code == 200
    dataset = first.json()
    assert (dataset["did"], dataset["files"], dataset["events"], dataset["owner"]) == (DATASET, 2, 20, "ann")
    assert dataset["replicas"] == [
        {"storage": "A-DISK", "site": "A", "files": 2, "bytes": dataset["bytes"], "complete": True}
    ]

    assert (await broker.post("/api/uploads/commit", upload(), token)).json() == dataset
    again = (await broker.post("/api/uploads", upload(), token)).json()
    assert [item["present"] for item in again["files"]] == [True, True]


async def test_a_commit_after_the_dataset_was_closed_may_still_be_repeated(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    store((await broker.post("/api/uploads", upload(), token)).json())
    await broker.post("/api/uploads/commit", upload(), token)
    await broker.post(f"/api/datasets/{DATASET}/close", None, token)
    assert (await broker.post("/api/uploads/commit", upload(), token)).status_code == 200


@pytest.mark.parametrize(("verb", "code"), [("close", "dataset-closed"), ("delete", "dataset-deleted")])
async def test_new_files_for_a_closed_or_deleted_dataset_are_refused_before_they_are_copied(
    verb: str, code: str, broker: Broker
) -> None:
    token = await broker.token("user", "ann")
    store((await broker.post("/api/uploads", upload(), token)).json())
    await broker.post("/api/uploads/commit", upload(), token)
    await broker.post(f"/api/datasets/{DATASET}/{verb}", None, token)
    more = upload(files=[upload()["files"][0] | {"name": "three.root"}])
    assert problem(await broker.post("/api/uploads", more, token))["code"] == code


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"two.root": b"the second oNe"}, "checksum-mismatch"),
        ({"two.root": b"the sec"}, "checksum-mismatch"),
        ({}, "file-missing"),
    ],
)
async def test_one_bad_file_and_nothing_is_registered(content: dict[str, bytes], code: str, broker: Broker) -> None:
    token = await broker.token("user", "ann")
    places = (await broker.post("/api/uploads", upload(), token)).json()
    places["files"] = [item for item in places["files"] if item["name"] in {"one.root", *content}]
    store(places, CONTENT | content)

    answer = await broker.post("/api/uploads/commit", upload(), token)
    document = problem(answer)
    assert (answer.status_code, document["code"]) == (409, code)
    assert "two.root" in document["object"]
    for table in ("file", "replica", "dataset", "dataset_file"):
        assert await broker.world.value(f"SELECT count(*) FROM {table}") == 0


async def test_a_plan_changes_nothing(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    assert (await broker.post("/api/uploads", upload(), token)).status_code == 200
    assert await broker.world.value("SELECT count(*) FROM dataset") == 0


async def test_other_content_under_a_known_name_is_refused_before_anything_is_stored(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    store((await broker.post("/api/uploads", upload(), token)).json())
    await broker.post("/api/uploads/commit", upload(), token)
    changed = upload()
    changed["files"][0]["adler32"] = "00000001"
    for path in ("/api/uploads", "/api/uploads/commit"):
        answer = await broker.post(path, changed, token)
        assert (answer.status_code, problem(answer)["code"]) == (409, "file-conflict")


async def test_datasets_of_others_and_outputs_of_tasks_take_no_uploads(broker: Broker) -> None:
    ann, bob = await broker.token("user", "ann"), await broker.token("user", "bob")
    store((await broker.post("/api/uploads", upload(), ann)).json())
    await broker.post("/api/uploads/commit", upload(), ann)
    answer = await broker.post("/api/uploads", upload(), bob)
    assert (answer.status_code, problem(answer)["code"]) == (409, "dataset-conflict")

    task = await broker.world.submit(evgen(), owner="ann")
    answer = await broker.post("/api/uploads", upload(dataset=task.key, kind=DatasetKind.PRODUCTION), ann)
    assert (answer.status_code, problem(answer)["code"]) == (409, "wrong-state")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"storage": "C-DISK"}, 404, "not-found"),
        ({"dataset": "no name"}, 400, "bad-name"),
        ({"kind": "dispatch"}, 422, "bad-request"),
        ({"files": []}, 422, "bad-request"),
        ({"files": upload()["files"] * 2}, 422, "bad-request"),
        ({"files": [upload()["files"][0] | {"name": "../../etc/passwd"}]}, 400, "bad-name"),
        ({"files": [upload()["files"][0] | {"adler32": "xyz"}]}, 422, "bad-request"),
        ({"files": [upload()["files"][0] | {"bytes": -1}]}, 422, "bad-request"),
    ],
)
async def test_an_upload_that_cannot_be_is_refused(
    changes: dict[str, Any], status: int, code: str, broker: Broker
) -> None:
    answer = await broker.post("/api/uploads", upload(**changes), await broker.token("user", "ann"))
    assert (answer.status_code, problem(answer)["code"]) == (status, code)


async def test_another_storage_may_be_named_unless_it_is_read_only(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    places = (await broker.post("/api/uploads", upload(storage="B-DISK"), token)).json()
    assert places["storage"] == "B-DISK"
    await broker.world.pool.execute("UPDATE storage SET writable = false WHERE name = 'B-DISK'")
    answer = await broker.post("/api/uploads", upload(storage="B-DISK"), token)
    assert (answer.status_code, problem(answer)["code"]) == (409, "bad-storage")


async def test_a_copy_that_goes_while_others_are_read_is_not_registered_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await broker.token("user", "ann")
    store((await broker.post("/api/uploads", upload(), token)).json())
    one = upload(files=upload()["files"][:1])
    assert (await broker.post("/api/uploads/commit", one, token)).status_code == 200
    verify = uploads._verify

    async def meanwhile(wanted: Sequence[tuple[NewFile, str]]) -> None:
        await verify(wanted)
        async with broker.world.pool.acquire() as conn, conn.transaction():
            await replicas.remove(conn, *await conn.fetchrow("SELECT storage_id, ARRAY[file_id] FROM replica"))

    monkeypatch.setattr(uploads, "_verify", meanwhile)
    refused = problem(await broker.post("/api/uploads/commit", upload(), token))
    assert (refused["code"], refused["object"]) == ("file-missing", "user.ann:one.root")
    monkeypatch.undo()
    assert (await broker.post("/api/uploads/commit", upload(), token)).json()["replicas"][0]["files"] == 2


async def test_what_was_garbage_is_not_deleted_between_its_reading_and_its_registration(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await broker.token("user", "ann")
    places = (await broker.post("/api/uploads", upload(), token)).json()
    store(places)
    for name in CONTENT:
        await broker.world.pool.execute(
            "INSERT INTO garbage (storage_id, scope, name) SELECT id, 'user.ann', $1 FROM storage WHERE home", name
        )
    verify = uploads._verify

    async def meanwhile(wanted: Sequence[tuple[NewFile, str]]) -> None:
        await verify(wanted)
        await Mover(broker.world.pool, "mover").clean()

    monkeypatch.setattr(uploads, "_verify", meanwhile)
    assert (await broker.post("/api/uploads/commit", upload(), token)).status_code == 200
    assert stored(places)
    await broker.world.pool.execute("UPDATE garbage SET not_before = now()")
    await Mover(broker.world.pool, "mover").clean()
    assert await broker.world.pool.fetchval("SELECT count(*) FROM garbage") == 0
    assert stored(places)


async def test_a_file_that_is_brought_again_is_no_cached_copy(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    store((await broker.post("/api/uploads", upload(), token)).json())
    await broker.post("/api/uploads/commit", upload(), token)
    await broker.world.pool.execute("UPDATE replica SET tombstone_at = now()")
    await broker.post("/api/uploads/commit", upload(), token)
    assert await broker.world.pool.fetchval("SELECT count(tombstone_at) FROM replica") == 0
