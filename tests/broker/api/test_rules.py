"""Rules for failed jobs over HTTP: read and tried by all, changed by admins."""

from .conftest import Broker, problem

RULE = '[rule.never]\nmatch = "x"\nretry = false'


async def test_rules_are_shown_and_tried_on_a_message(broker: Broker) -> None:
    shown = (await broker.get("/api/rules")).json()
    assert shown["number"] == 0
    assert "out-of-memory" in [rule["name"] for rule in shown["rules"]]
    tried = await broker.get("/api/rules/test", message="std::bad_alloc", attempt=3)
    assert tried.json() == {
        "rule": "out-of-memory",
        "again": False,
        "reason": "rule out-of-memory; 3 of 3 attempts are used up",
    }


async def test_only_an_admin_changes_rules_and_a_dry_run_changes_nothing(broker: Broker) -> None:
    ann, root = await broker.token("user", "ann"), await broker.token("admin", "root")
    refused = await broker.post("/api/rules", {"text": RULE}, ann)
    assert problem(refused)["code"] == "forbidden"
    for dry_run in (True, False):
        answer = await broker.post("/api/rules", {"text": RULE, "reason": "why not", "dry_run": dry_run}, root)
        assert answer.json()["dry_run"] is dry_run
        assert answer.json()["changes"]["never"] == [None, {"match": "x", "retry": False}]
        assert ((await broker.get("/api/rules")).json()["number"] > 0) is not dry_run
    again = await broker.post("/api/rules", {"text": RULE}, root)
    assert again.json()["note"] == "the same rules are in force already"
    rows = await broker.world.fetch("SELECT actor, verb, object, reason FROM journal")
    assert [tuple(row.values()) for row in rows] == [("user:root", "apply", "rules", "why not")]


async def test_a_bad_rule_is_refused_with_its_line(broker: Broker) -> None:
    root = await broker.token("admin", "root")
    answer = await broker.post("/api/rules", {"text": "[rule.a]\nlimit = 0"}, root)
    assert problem(answer)["detail"].startswith("rules:2: rule a: limit:")
    answer = await broker.post("/api/rules", {"text": "[rule.a]\nlimit = 0", "name": "mine.toml"}, root)
    assert problem(answer)["detail"].startswith("mine.toml:2: rule a: limit:")
    assert await broker.world.value("SELECT count(*) FROM retry_rules") == 0
