"""Routes about data: datasets made, filled, closed, versioned, deleted; copies wished for, explained, read again."""

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from prodchain.broker.api import documents
from prodchain.catalog import datasets, files, names, replicas
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import DatasetKind

from ..world import inside
from .conftest import Broker, problem

NAME = "user.ann.zmumu.AOD.v1"
DID = f"user.ann:{NAME}"
CONTAINER = "user.ann.all"


@dataclass
class Data:
    """A broker with a dataset of ann's: three files, real ones, at A-DISK."""

    broker: Broker
    ann: str
    bob: str
    admin: str
    paths: list[Path]

    async def post(self, path: str, document: Any = None, token: str | None = None) -> Any:
        answer = await self.broker.post(path, document, token or self.ann)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.broker.get(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, path: str, document: Any = None, token: str | None = None) -> tuple[int, str, str]:
        answer = await self.broker.post(path, document, token or self.ann)
        found = problem(answer)
        return answer.status_code, found["code"], found["detail"]


def store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def fill(conn: Any, folder: Path, name: str = NAME, count: int = 3) -> list[Path]:
    """Register files and store them at A-DISK, as an upload does."""
    did = names.parse_did(name)
    dataset = await datasets.create(conn, did, DatasetKind.USER, "ann")
    storage = await conn.fetchrow("SELECT id, url FROM storage WHERE name = 'A-DISK'")
    new, paths = [], []
    for number in range(count):
        content = f"{name} {number}".encode() * 100
        file = names.Did(did.scope, names.file_name(did.name, number + 1, 1))
        path = Path(names.url_of(storage["url"], file).removeprefix("file:").removeprefix("//"))
        store(path, content)
        paths.append(path)
        new.append(
            NewFile(file, uuid5(NAMESPACE_URL, str(file)), len(content), f"{zlib.adler32(content):08x}", events=10)
        )
    ids = await files.register(conn, new)
    await datasets.add_files(conn, dataset.id or 0, ids)
    await replicas.arrive(conn, storage["id"], ids)
    return paths


@pytest.fixture
async def data(broker: Broker) -> AsyncIterator[Data]:
    paths = await inside(broker.world.pool, fill, broker.world.folder)
    tokens = [await broker.token(kind, who) for kind, who in (("user", "ann"), ("user", "bob"), ("admin", "root"))]
    yield Data(broker, *tokens, paths)


async def test_a_dataset_is_made_once_and_found_again(data: Data) -> None:
    new = {"name": "user.ann.new", "kind": "user", "meta": {"why": "test"}}
    tried = await data.broker.post("/api/datasets", new | {"dry_run": True}, data.ann)
    assert tried.status_code == 201
    assert (await data.broker.get("/api/datasets/user.ann.new")).status_code == 404
    made = await data.broker.post("/api/datasets", new, data.ann)
    again = await data.broker.post("/api/datasets", new, data.ann)
    assert (made.status_code, again.status_code) == (201, 200)
    view = documents.OneDatasetView.model_validate(again.json())
    assert (view.owner, view.state, view.meta, view.versions) == ("ann", "open", {"why": "test"}, [1])
    assert (await data.refused("/api/datasets", new, data.bob))[:2] == (409, "dataset-conflict")
    assert (await data.refused("/api/datasets", new | {"kind": "dispatch"}))[:2] == (422, "bad-request")


async def test_known_files_join_and_unknown_ones_are_named(data: Data) -> None:
    await data.post("/api/datasets", {"name": "user.ann.best"})
    file = f"{NAME}._000002.root.1"
    assert (await data.post("/api/datasets/user.ann.best/files", {"files": [file], "dry_run": True}))["files"] == 1
    assert (await data.get("/api/datasets/user.ann.best"))["files"] == 0
    best = await data.post("/api/datasets/user.ann.best/files", {"files": [file]})
    assert (best["files"], best["events"], best["sites"]) == (1, 10, ["A"])
    status, code, words = await data.refused("/api/datasets/user.ann.best/files", {"files": [file, "nope", "no"]})
    assert (status, code, words) == (404, "not-found", "there is no file user.ann:nope, and 1 more are not known")
    assert (await data.refused("/api/datasets/user.ann.best/files", {}))[:2] == (422, "bad-request")
    assert (await data.refused("/api/datasets/user.ann.best/files", {"files": [file]}, data.bob))[0] == 403


async def test_a_closed_dataset_gets_a_new_version_and_keeps_the_old(data: Data) -> None:
    assert (await data.post(f"/api/datasets/{NAME}/close", {"dry_run": True}))["state"] == "closed"
    assert (await data.get(f"/api/datasets/{NAME}"))["state"] == "open"
    await data.post(f"/api/datasets/{NAME}/close")
    new = await data.post(f"/api/datasets/{NAME}/new-version")
    assert (new["did"], new["version"], new["state"], new["files"], new["versions"]) == (DID, 2, "open", 3, [1, 2])
    old = await data.get(f"/api/datasets/{NAME}@1")
    assert (old["did"], old["state"], old["latest"]) == (f"{DID}@1", "closed", False)
    assert old["access"][0]["line"] == f"prodchain get {NAME}@1"
    assert [each["did"] for each in (await data.get("/api/datasets"))["items"]] == [DID]
    listed = (await data.get("/api/datasets", versions=True))["items"]
    assert sorted(each["did"] for each in listed) == [DID, f"{DID}@1"]
    assert problem(await data.broker.get(f"/api/datasets/{NAME}@7"))["code"] == "dataset-not-found"
    assert [event["kind"] for event in (await data.get(f"/api/datasets/{NAME}/story"))["items"]][:1] == ["version"]


async def test_versions_are_compared_file_by_file(data: Data) -> None:
    await data.post(f"/api/datasets/{NAME}/close")
    await data.post(f"/api/datasets/{NAME}/new-version")
    await inside(data.broker.world.pool, fill, data.broker.world.folder, "user.ann.more", 2)
    more = [f"user.ann.more._00000{number}.root.1" for number in (1, 2)]
    await data.post(f"/api/datasets/{NAME}/files", {"files": more})
    first = await data.get(f"/api/datasets/{NAME}@1/diff", other=NAME, limit=1)
    documents.DiffView.model_validate(first)
    assert (first["added"]["files"], first["removed"]["files"]) == (2, 0)
    second = await data.get(f"/api/datasets/{NAME}@1/diff", other=NAME, after=first["next"])
    assert [each["change"] for each in first["items"] + second["items"]] == ["added", "added"]
    assert [each["file"] for each in first["items"] + second["items"]] == [f"user.ann:{name}" for name in more]


async def test_a_container_holds_datasets_and_sums_them_up(data: Data) -> None:
    await data.post("/api/datasets", {"name": CONTAINER, "kind": "container"})
    whole = await data.post(f"/api/datasets/{CONTAINER}/files", {"datasets": [NAME]})
    assert (whole["files"], whole["events"], whole["sites"]) == (3, 30, ["A"])
    assert whole["replicas"][0]["complete"]
    [inside_] = (await data.get(f"/api/datasets/{CONTAINER}/content"))["items"]
    assert inside_["did"] == DID
    assert (await data.get(f"/api/datasets/{NAME}"))["parents"] == [f"user.ann:{CONTAINER}"]
    cycle = await data.refused(f"/api/datasets/{CONTAINER}/files", {"datasets": [CONTAINER]})
    assert cycle[:2] == (409, "container-cycle")
    listed = {each["did"]: each["files"] for each in (await data.get("/api/datasets"))["items"]}
    assert listed == {DID: 3, f"user.ann:{CONTAINER}": 3}


async def test_what_is_deleted_is_hidden_and_brought_back(data: Data) -> None:
    await data.post("/api/datasets", {"name": CONTAINER, "kind": "container"})
    await data.post(f"/api/datasets/{CONTAINER}/files", {"datasets": [NAME]})
    status, code, words = await data.refused(f"/api/datasets/{NAME}/delete", {"dry_run": True})
    assert (status, code) == (409, "dataset-needed")
    assert f"the container user.ann:{CONTAINER}" in words
    assert (await data.refused(f"/api/datasets/{CONTAINER}/delete", None, data.bob))[0] == 403
    await data.post(f"/api/datasets/{CONTAINER}/delete")
    assert (await data.post(f"/api/datasets/{NAME}/delete", {"dry_run": True}))["purge_at"] is not None
    gone = await data.post(f"/api/datasets/{NAME}/delete")
    assert gone["deleted_at"] is not None
    assert (await data.get("/api/datasets"))["items"] == []
    assert len((await data.get("/api/datasets", deleted=True))["items"]) == 2
    back = await data.post(f"/api/datasets/{NAME}/undelete")
    assert (back["deleted_at"], back["purge_at"], back["files"]) == (None, None, 3)


async def test_a_lifetime_is_set_and_taken_away(data: Data) -> None:
    at = "2099-01-01T00:00:00Z"
    path = f"/api/datasets/{NAME}/lifetime"
    assert (await data.post(path, {"expires_at": at, "dry_run": True}))["expires_at"].startswith("2099-01-01")
    assert (await data.get(f"/api/datasets/{NAME}"))["expires_at"] is None
    assert (await data.post(path, {"expires_at": at}))["expires_at"].startswith("2099-01-01")
    assert (await data.post(path, {"expires_at": None}))["expires_at"] is None
    assert (await data.refused(path, {}))[1] == "bad-request"


async def test_lists_are_narrowed_by_place_owner_age_and_fields(data: Data) -> None:
    async def names_of(**filters: Any) -> list[str]:
        return [each["name"] for each in (await data.get("/api/datasets", **filters))["items"]]

    for fits in ({"at": "A"}, {"at": "A-DISK"}, {"not_at": "B"}, {"complete_at": "A"}, {"owner": "ann"},
                 {"pattern": "user*:*zmumu*"}, {"since": "2020-01-01"}, {"kind": "user"}):  # fmt: skip
        assert await names_of(**fits) == [NAME], fits
    for other in ({"at": "B"}, {"not_at": "A"}, {"owner": "bob"}, {"since": "2099-01-01"}, {"step": "evgen"}):
        assert await names_of(**other) == [], other
    unknown = await data.broker.get("/api/datasets", at="C")
    assert "there is no storage or site 'C'" in problem(unknown)["detail"]
    near = await data.broker.get("/api/datasets", at="A-DISC")
    assert (near.status_code, problem(near)["hint"]) == (404, "did you mean A-DISK?")
    assert (await data.broker.get("/api/datasets", sort="colour")).status_code == 400
    assert (await data.broker.get("/api/datasets", place="A")).status_code == 422


async def test_fields_are_counted_each_without_its_own_filter(data: Data) -> None:
    for step, count in (("evgen", 3), ("sim", 2)):
        for number in range(count):
            await inside(data.broker.world.pool, fill, data.broker.world.folder, f"mc26.70000{number}.Z.{step}.X.v1")
    facets = await data.get("/api/datasets/facets", step="sim")
    documents.FacetsView.model_validate(facets)
    assert (facets["fields"]["step"], facets["datasets"], facets["exact"]) == ({"evgen": 3, "sim": 2}, 2, True)
    assert facets["kinds"] == {"user": 6}
    assert facets["fields"]["number"] == {"700000": 1, "700001": 1}


async def test_a_wish_is_planned_made_followed_and_ended(data: Data) -> None:
    path = f"/api/datasets/{NAME}/subscribe"
    dry = await data.post(path, {"to": "site=B", "dry_run": True}, data.bob)
    documents.PlansView.model_validate(dry)
    [plan] = dry["plans"]
    assert (plan["storage"], plan["files"], plan["refusal"]) == ("B-DISK", 3, "")
    assert (await data.get("/api/subscriptions"))["items"] == []

    await data.post("/api/quotas", {"owner": "bob", "storage": "B-DISK", "limit_bytes": 10}, data.admin)
    [tight] = (await data.post(path, {"to": "B-DISK", "dry_run": True}, data.bob))["plans"]
    assert tight["refusal"].startswith("bob may have 10 B at B-DISK")
    assert (await data.refused(path, {"to": "B-DISK"}, data.bob))[:2] == (409, "quota-exceeded")
    assert (await data.refused(path, {"to": "B-DISC"}))[:2] == (400, "bad-expression")

    assert await data.refused(path, {"to": "B-DISK", "priority": 101}) == (
        403, "forbidden", "priority 101 is for admins"
    )  # fmt: skip
    await data.post(path, {"to": "B-DISK", "priority": 101, "dry_run": True}, data.admin)
    await data.post(path, {"to": "B-DISK", "lifetime_s": 86400})
    [wish] = (await data.get("/api/subscriptions", at="B-DISK", state="active"))["items"]
    documents.SubscriptionView.model_validate(wish)
    assert (wish["dataset"], wish["files"], wish["files_there"], wish["owner"]) == (DID, 3, 0, "ann")
    summary = await data.get("/api/subscriptions/summary")
    assert (summary["other"]["active"], summary["other"]["files_missing"]) == (1, 3)
    assert (await data.refused(f"/api/datasets/{NAME}/delete"))[1] == "dataset-needed"

    headers = {"Authorization": f"Bearer {data.bob}"}
    assert (await data.broker.client.delete(f"/api/subscriptions/{wish['id']}", headers=headers)).status_code == 403
    headers = {"Authorization": f"Bearer {data.ann}"}
    ended = await data.broker.client.delete(f"/api/subscriptions/{wish['id']}", headers=headers)
    assert ended.json()["state"] == "cancelled"
    assert (await data.get("/api/transfers"))["items"] == []
    assert problem(await data.broker.get("/api/subscriptions/999"))["code"] == "not-found"


async def test_why_says_what_a_copy_lacks_and_why_file_by_file(data: Data) -> None:
    async def sentences(at: str) -> list[str]:
        answer = await data.get(f"/api/datasets/{NAME}/why", at=at)
        documents.CopyWhyView.model_validate(answer)
        return [reason["what"] for reason in answer["reasons"]]

    assert await sentences("A-DISK") == ["complete: all 3 files are at A-DISK so far; it is open, more may come"]
    nobody = await data.get(f"/api/datasets/{NAME}/why", at="B-DISK")
    assert "0 of 3 files are at B-DISK" in nobody["reasons"][0]["what"]
    assert nobody["reasons"][1] == {
        "what": "nobody wished for it there",
        "remedy": f"`prodchain dataset subscribe {NAME} --to B-DISK`",
    }
    await data.post(f"/api/datasets/{NAME}/close")
    await data.post(f"/api/datasets/{NAME}/subscribe", {"to": "B-DISK"})
    assert "3 queued" in await sentences("B-DISK")
    await data.broker.world.pool.execute(
        "UPDATE transfer SET phase = 'waiting', attempts = 2, error = 'A-DISK: no space left', "
        "not_before = now() + interval '5 min' WHERE file_id = (SELECT min(file_id) FROM transfer)"
    )
    failing = await data.get(f"/api/datasets/{NAME}/why", at="B-DISK", limit=1)
    assert "1 tried in vain; A-DISK: no space left" in [reason["what"] for reason in failing["reasons"]]
    [file] = failing["files"]
    assert (file["state"], file["attempts"], file["error"]) == ("waiting", 2, "A-DISK: no space left")
    assert file["next_try"] is not None
    following = await data.get(f"/api/datasets/{NAME}/why", at="B-DISK", after=failing["next"])
    assert len(following["files"]) == 2
    [wish] = (await data.get("/api/subscriptions", dataset=NAME))["items"]
    assert (wish["failing"], wish["error"]) == (1, "A-DISK: no space left")
    assert [move["error"] for move in (await data.get("/api/transfers", state="failing"))["items"]] == [file["error"]]
    await data.broker.world.move()
    assert await sentences("B-DISK") == ["complete: all 3 files are at B-DISK"]
    meant = problem(await data.broker.get(f"/api/datasets/{NAME}/why", at="B-DISC"))
    assert meant["hint"] == "did you mean B-DISK?"


async def test_the_story_of_a_dataset_tells_who_did_what(data: Data) -> None:
    await data.post("/api/datasets", {"name": "user.ann.tale"})
    for number in (1, 2):
        await data.post("/api/datasets/user.ann.tale/files", {"files": [f"user.ann:{NAME}._00000{number}.root.1"]})
    await data.post("/api/datasets/user.ann.tale/close")
    await data.post("/api/datasets/user.ann.tale/subscribe", {"to": "B-DISK"}, data.bob)
    await data.broker.world.move()
    [wish] = (await data.get("/api/subscriptions", dataset="user.ann.tale"))["items"]
    assert wish["state"] == "done"
    headers = {"Authorization": f"Bearer {data.bob}"}
    await data.broker.client.delete(f"/api/subscriptions/{wish['id']}", headers=headers)
    await data.post("/api/datasets/user.ann.tale/delete")
    story = (await data.get("/api/datasets/user.ann.tale/story"))["items"]
    assert [(event["kind"], event["actor"]) for event in reversed(story)] == [
        ("created", "ann"),
        ("added", "ann"),
        ("closed", "ann"),
        ("subscribed", "bob"),
        ("complete", ""),
        ("cancelled", "bob"),
        ("deleted", "ann"),
    ]
    assert story[-2]["text"] == "2 files in all"
    assert story[2]["text"] == "all 2 files are at B-DISK: what was wished for"


async def test_copies_are_read_again_and_damaged_ones_declared(data: Data) -> None:
    clean = await data.post(f"/api/datasets/{NAME}/verify", {})
    documents.VerifiedView.model_validate(clean)
    assert (clean["checked"], clean["bad"], clean["next"]) == (3, [], None)
    content = data.paths[0].read_bytes()
    data.paths[0].write_bytes(b"X" + content[1:])
    data.paths[1].write_bytes(content[:10])
    data.paths[2].unlink()
    found = (await data.post(f"/api/datasets/{NAME}/verify", {"at": "A-DISK"}))["bad"]
    assert [each["reason"].partition(" 1")[0] for each in found][1:] == ["it has", "it is not there"]
    assert found[0]["reason"].startswith("its adler32 is ")
    wrong = {"storage": "A-DISK", "files": [each["file"] for each in found[:1]], "reason": "bit rot"}
    dry = await data.post(f"/api/datasets/{NAME}/bad", wrong | {"dry_run": True})
    assert dry == {"items": [{"file": found[0]["file"], "storage": "A-DISK", "state": "lost"}]}
    assert (await data.get(f"/api/datasets/{NAME}"))["replicas"][0]["files"] == 3
    assert (await data.refused(f"/api/datasets/{NAME}/bad", wrong, data.bob))[0] == 403
    documents.BadCopiesView.model_validate(await data.post(f"/api/datasets/{NAME}/bad", wrong))
    assert (await data.get(f"/api/datasets/{NAME}"))["replicas"][0]["files"] == 2
    [lost, *_] = (await data.get(f"/api/datasets/{NAME}/story"))["items"]
    assert (lost["kind"], lost["actor"]) == ("lost", "ann")


async def test_nobody_declares_bad_what_is_in_datasets_of_others_too(data: Data) -> None:
    """Anybody may put a known file into a dataset of their own: that must not make its copies theirs to delete."""
    file = f"{DID.partition(':')[0]}:{NAME}._000001.root.1"
    await data.post("/api/datasets", {"name": "user.bob.trap"}, data.bob)
    await data.post("/api/datasets/user.bob.trap/files", {"files": [file]}, data.bob)
    wrong = {"storage": "A-DISK", "files": [file], "reason": "bit rot"}
    status, code, words = await data.refused("/api/datasets/user.bob.trap/bad", wrong, data.bob)
    assert (status, code, words) == (403, "forbidden", f"{file} is in {DID} of ann too")
    assert (await data.get(f"/api/datasets/{NAME}"))["replicas"][0]["files"] == 3
    assert (await data.post("/api/datasets/user.bob.trap/bad", wrong, data.admin))["items"][0]["state"] == "lost"


async def test_quotas_are_set_by_admins_and_read_by_all(data: Data) -> None:
    wish = {"owner": "ann", "storage": "A-DISK", "limit_bytes": 1_000_000}
    assert (await data.refused("/api/quotas", wish))[0] == 403
    assert (await data.post("/api/quotas", wish | {"dry_run": True}, data.admin))["limit_bytes"] == 1_000_000
    assert (await data.get("/api/quotas"))["items"] == []
    quota = await data.post("/api/quotas", wish, data.admin)
    documents.QuotaView.model_validate(quota)
    size = sum(path.stat().st_size for path in data.paths)
    assert (quota["used_bytes"], quota["left_bytes"]) == (size, 1_000_000 - size)
    assert (await data.get("/api/quotas", owner="ann"))["items"] == [quota]
    assert (await data.post("/api/quotas", wish | {"limit_bytes": None}, data.admin))["limit_bytes"] is None
    for name, answer in (
        ("group:higgs", (404, "not-found", "there is no group higgs")),
        ("user:*", (422, "bad-request", "there is no account user:* for bytes")),
    ):
        assert await data.refused("/api/quotas", wish | {"owner": name}, data.admin) == answer
    assert (await data.refused("/api/quotas", wish | {"storage": "A-DISC"}, data.admin))[0] == 404


async def test_a_storage_shows_what_it_holds_and_what_is_coming(data: Data) -> None:
    await data.broker.world.pool.execute("UPDATE storage SET capacity_bytes = 1000000 WHERE name = 'A-DISK'")
    size = sum(path.stat().st_size for path in data.paths)
    here = await data.get("/api/storages/A-DISK")
    documents.StorageView.model_validate(here)
    assert (here["files"], here["bytes"], here["free_bytes"]) == (3, size, 1_000_000 - size)
    await data.post(f"/api/datasets/{NAME}/subscribe", {"to": "B-DISK"})
    there = await data.get("/api/storages/B-DISK")
    assert (there["files"], there["moving_files"], there["moving_bytes"], there["free_bytes"]) == (0, 3, size, None)
    assert problem(await data.broker.get("/api/storages/A-DISC"))["hint"] == "did you mean A-DISK?"
    assert (await data.get("/api/links"))["items"] == []
