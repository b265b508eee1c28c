"""Storages are tested and audited by administrators."""

from pathlib import Path

from .conftest import Broker


async def test_a_storage_is_tested_step_by_step(broker: Broker) -> None:
    admin = await broker.token("admin", "root")
    answer = (await broker.post("/api/storages/A-DISK/test", None, admin)).json()
    assert (answer["storage"], answer["ok"]) == ("A-DISK", True)
    assert [step["name"] for step in answer["steps"]][:2] == ["put", "size"]


async def test_an_audit_counts_and_names_what_is_odd(broker: Broker) -> None:
    admin = await broker.token("admin", "root")
    folder = Path(broker.world.folder) / "a"
    folder.mkdir(exist_ok=True)
    (folder / "stranger.txt").write_text("?")
    answer = (await broker.post("/api/storages/A-DISK/audit", {}, admin)).json()
    assert (answer["clean"], answer["listed"], answer["counts"]["dark"]) == (False, 1, 1)
    assert answer["files"]["dark"] == [{"path": "stranger.txt", "there": 1, "known": None}]


async def test_users_do_not_audit_and_unknown_storages_are_named(broker: Broker) -> None:
    user, admin = await broker.token("user", "ann"), await broker.token("admin", "root")
    assert (await broker.post("/api/storages/A-DISK/audit", {}, user)).status_code == 403
    answer = await broker.post("/api/storages/NOWHERE/test", None, admin)
    assert (answer.status_code, answer.json()["code"]) == (404, "storage-unknown")
    answer = await broker.post("/api/storages/A-DISC/audit", {}, admin)
    assert (answer.status_code, answer.json()["hint"]) == (404, "did you mean A-DISK?")
