"""Shares over HTTP: listed by all, declared by admins, tried without being changed."""

from ..test_sharefile import TREE
from .conftest import Broker


async def test_shares_are_tried_declared_set_and_listed(broker: Broker) -> None:
    admin, user = await broker.token("admin", "root"), await broker.token("user", "ann")
    declared = {"text": TREE, "reason": "new year"}
    assert (await broker.post("/api/shares/apply", declared, user)).status_code == 403
    tried = (await broker.post("/api/shares/apply", declared | {"dry_run": True}, admin)).json()
    assert (tried["dry_run"], tried["changes"]["higgs.value"]) == (True, [None, 3.0])
    assert [share["name"] for share in (await broker.get("/api/shares")).json()["items"]] == [
        "production",
        "analysis",
    ]
    assert await broker.world.value("SELECT count(*) FROM journal") == 0

    done = (await broker.post("/api/shares/apply", declared, admin)).json()
    assert done["changes"] == tried["changes"]
    answer = await broker.post("/api/shares/analysis/set", {"value": 70, "dry_run": True}, admin)
    assert answer.json()["changes"]["analysis.target_percent"] == [30.0, 50.0]
    assert (await broker.post("/api/shares/analysis/set", {"value": 70}, user)).status_code == 403
    assert (await broker.post("/api/shares/none/set", {"value": 70}, admin)).status_code == 404
    assert (await broker.post("/api/shares/analysis/set", {"value": -1}, admin)).status_code == 422
    items = (await broker.get("/api/shares", days=30)).json()["items"]
    assert [(share["name"], share["depth"], share["target"]) for share in items][::2] == [
        ("production", 0, 0.7),
        ("analysis", 0, 0.3),
    ]


async def test_a_mistake_in_the_declaration_is_told_with_its_line(broker: Broker) -> None:
    admin = await broker.token("admin", "root")
    answer = await broker.post("/api/shares/apply", {"text": TREE.replace("value = 3\n", "value = -1\n")}, admin)
    assert answer.status_code == 422
    assert "shares:8" in answer.json()["detail"]
    named = {"text": TREE.replace("value = 3\n", "value = -1\n"), "name": "my/tree.toml"}
    assert "my/tree.toml:8" in (await broker.post("/api/shares/apply", named, admin)).json()["detail"]
