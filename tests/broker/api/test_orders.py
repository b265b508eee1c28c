"""Orders over the API: who may give them, what a dry run leaves, and what the journal has."""

from typing import Any

import pytest

from prodchain.broker.models import Task

from ..world import evgen
from .conftest import Broker, problem

TASK_ORDERS: dict[str, dict[str, Any]] = {
    "kill": {},
    "pause": {},
    "finish": {},
    "reassign": {"to": "B"},
    "set": {"changes": {"memory_mb": 1500}},
}
ADMINS: dict[str, dict[str, Any]] = {
    "/api/queues/A-BATCH/drain": {},
    "/api/queues/A-BATCH/offline": {},
    "/api/queues/A-BATCH/online": {},
    "/api/quotas/work": {"subject": "user:ann", "running": 5},
    "/api/groups/susy/add": {"user": "ann"},
    "/api/groups/higgs/add": {"user": "bob", "leads": True},
    "/api/groups/higgs/remove": {"user": "lea"},
}


async def task_of_group(broker: Broker) -> Task:
    """Ann's, for the group higgs that Lea leads and Bob is in."""
    for user, leads in (("ann", False), ("bob", False), ("lea", True)):
        await broker.world.pool.execute("INSERT INTO membership VALUES ('higgs', $1, $2)", user, leads)
    task = await broker.world.submit(evgen(group="higgs"), owner="ann")
    await broker.world.agents()
    return task


async def counts(broker: Broker) -> tuple[int, list[Any]]:
    rows = await broker.world.fetch(
        "SELECT t.*, j.state AS job FROM task t JOIN job j ON j.task_id = t.id ORDER BY j.id"
    )
    return await broker.world.value("SELECT count(*) FROM journal"), [tuple(row) for row in rows]


@pytest.mark.parametrize("verb", TASK_ORDERS)
async def test_owner_leader_and_admin_steer_a_task_and_nobody_else(verb: str, broker: Broker) -> None:
    task = await task_of_group(broker)
    path, document = f"/api/tasks/{task.id}/{verb}", TASK_ORDERS[verb]
    before = await counts(broker)
    for name in ("bob", "eve"):
        answer = await broker.post(path, document, await broker.token("user", name))
        assert (answer.status_code, problem(answer)["code"]) == (403, "forbidden")
    for kind, name in (("user", "ann"), ("user", "lea"), ("admin", "root")):
        answer = await broker.post(path, document | {"dry_run": True}, await broker.token(kind, name))
        assert (answer.status_code, answer.json()["dry_run"]) == (200, True)
        assert answer.json()["changes"]
    assert await counts(broker) == before  # what was tried has left nothing
    answer = await broker.post(path, document | {"reason": "why not"}, await broker.token("user", "lea"))
    done = answer.json()
    [entry] = (await broker.get("/api/journal", object=f"task {task.id}")).json()["items"]
    assert (entry["actor"], entry["verb"], entry["reason"]) == ("user:lea", verb, "why not")
    assert entry["detail"] == {"changes": done["changes"], "jobs": done["jobs"]}
    again = await broker.post(path, document, await broker.token("user", "ann"))
    assert again.json()["note"]
    assert await broker.world.value("SELECT count(*) FROM journal") == 1


async def test_orders_need_no_document(broker: Broker) -> None:
    task = await broker.world.submit(evgen(), owner="ann")
    ann = await broker.token("user", "ann")
    for verb, state in (("pause", "paused"), ("resume", "registered"), ("kill", "aborted"), ("retry", "running")):
        answer = await broker.post(f"/api/tasks/{task.id}/{verb}", None, ann)
        assert answer.json()["changes"]["state"][1] == state, answer.text
    assert [each["verb"] for each in (await broker.get("/api/journal", by="ann")).json()["items"]] == [
        "retry",
        "kill",
        "resume",
        "pause",
    ]
    page = (await broker.get("/api/journal", limit=3)).json()
    assert len((await broker.get("/api/journal", after=page["next"])).json()["items"]) == 1


async def test_jobs_are_steered_by_who_steers_their_task(broker: Broker) -> None:
    await task_of_group(broker)
    job = await broker.world.value("SELECT min(id) FROM job")
    for verb, document in (("priority", {"priority": 5}), ("reassign", {}), ("kill", {})):
        path = f"/api/jobs/{job}/{verb}"
        assert (await broker.post(path, document, await broker.token("user", "bob"))).status_code == 403
        tried = await broker.post(path, document | {"dry_run": True}, await broker.token("user", "lea"))
        done = await broker.post(path, document, await broker.token("user", "lea"))
        assert done.json() == tried.json() | {"dry_run": False}
    assert len((await broker.get("/api/journal", object=f"job {job}")).json()["items"]) == 3


@pytest.mark.parametrize("path", ADMINS)
async def test_queues_quotas_and_groups_are_the_admins(path: str, broker: Broker) -> None:
    await task_of_group(broker)
    document = ADMINS[path]
    for kind, name in (("user", "ann"), ("user", "bob"), ("user", "lea")):
        answer = await broker.post(path, document, await broker.token(kind, name))
        assert answer.status_code == 403, name
    answer = await broker.post(path, document | {"dry_run": True}, await broker.token("admin", "root"))
    assert answer.status_code == 200
    assert await broker.world.value("SELECT count(*) FROM journal") == 0
    answer = await broker.post(path, document, await broker.token("admin", "root"))
    assert await broker.world.value("SELECT count(*) FROM journal") == (0 if path.endswith("online") else 1)


async def test_leaders_add_members_to_their_group(broker: Broker) -> None:
    await task_of_group(broker)
    lea = await broker.token("user", "lea")
    assert (await broker.post("/api/groups/higgs/add", {"user": "eve"}, lea)).json()["changes"] == {
        "eve": [None, "member"]
    }
    assert (await broker.post("/api/groups/higgs/remove", {"user": "bob"}, lea)).status_code == 200
    assert (await broker.get("/api/groups/higgs")).json() == {
        "name": "higgs",
        "leaders": ["lea"],
        "members": ["ann", "eve"],
    }
    assert (await broker.get("/api/groups", user="bob")).json()["items"] == []


async def test_a_submission_says_whose_group_it_is_not_and_what_its_quota_does(broker: Broker) -> None:
    await task_of_group(broker)
    eve, ann = await broker.token("user", "eve"), await broker.token("user", "ann")
    document = evgen(group="higgs", output="mc26.700009.Z.evgen.EVNT.v1").model_dump()
    refused = await broker.post("/api/tasks", document, eve)
    assert (refused.status_code, problem(refused)["hint"]) == (403, "ask lea to add you")
    assert (await broker.post("/api/tasks", document, ann)).json()["notice"] == ""
    admin = await broker.token("admin", "root")
    await broker.post("/api/quotas/work", {"subject": "user:*", "running": 0}, admin)
    made = (await broker.post("/api/tasks", evgen(output="mc26.700010.Z.evgen.EVNT.v1").model_dump(), eve)).json()
    assert made["notice"] == "quota of user:eve: 0 of 0 cores are in use; it goes on as its jobs end"
    listed = (await broker.get("/api/quotas/work")).json()["items"]
    assert [(each["subject"], each["running"]) for each in listed] == [("user:*", 0)]


async def test_a_submission_says_that_its_group_has_no_room_where_it_goes(broker: Broker) -> None:
    await task_of_group(broker)
    admin, ann = await broker.token("admin", "root"), await broker.token("user", "ann")
    quota = {"owner": "group:higgs", "storage": "A-DISK", "limit_bytes": 0}
    assert (
        (await broker.post("/api/quotas", quota, admin)).json()["stopped"].startswith("quota of group:higgs: 0 B of")
    )
    document = evgen(group="higgs", output="mc26.700009.Z.evgen.EVNT.v1").model_dump()
    tried = (await broker.post("/api/tasks?dry_run=true", document, ann)).json()
    assert tried["notice"].startswith("quota of group:higgs: 0 B of 0 B at A-DISK are used; it goes on when")
    there = (await broker.post("/api/tasks?dry_run=true", document | {"destination": "B-DISK"}, ann)).json()
    mine = (await broker.post("/api/tasks?dry_run=true", document | {"group": ""}, ann)).json()
    assert there["notice"] == mine["notice"] == ""
    assert (await broker.post("/api/tasks", document, ann)).json()["notice"] == tried["notice"]
    [entry] = (await broker.get("/api/journal", object="group:higgs")).json()["items"]
    assert entry["detail"]["changes"] == {"bytes at A-DISK": [None, 0]}


async def test_a_withdrawn_token_opens_nothing(broker: Broker) -> None:
    admin, user = await broker.token("admin", "root"), await broker.token("user", "ann")
    assert (await broker.get("/api/tokens", user)).status_code == 403
    listed = (await broker.get("/api/tokens", admin)).json()["items"]
    assert sorted((each["kind"], each["subject"]) for each in listed) == [("admin", "root"), ("user", "ann")]
    [found] = (await broker.get("/api/tokens", admin, subject="ann")).json()["items"]
    path = f"/api/tokens/{found['id']}/revoke"
    assert (await broker.post(path, None, user)).status_code == 403
    assert (await broker.post(path, {"dry_run": True}, admin)).status_code == 200
    gone = (await broker.post(path, {"reason": "it was in a log"}, admin)).json()
    assert gone["changes"] == {"token": ["user token of ann", None]}
    broker.app.parts.tokens._remembered.clear()  # as after REMEMBERED_S
    answer = await broker.post("/api/tasks", evgen().model_dump(), user)
    assert (answer.status_code, problem(answer)["code"]) == (401, "token-unknown")
    assert (await broker.post(path, None, admin)).status_code == 404
