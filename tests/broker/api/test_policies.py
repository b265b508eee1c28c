"""Who may call what: every route says it once, and the walls hold."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from prodchain.broker.api.policies import COOKIE, Access, Open, Policy

from ..world import evgen
from .conftest import Broker, problem


def declared(dependant: Dependant) -> Iterator[Policy]:
    if isinstance(dependant.call, Access | Open):
        yield dependant.call.policy
    for part in dependant.dependencies:
        yield from declared(part)


def policies(broker: Broker) -> dict[str, list[Policy]]:
    """The policies of every route, by method and path."""
    found = {}
    for route in iter_route_contexts(broker.app.routes):
        for method in route.methods or {"MOUNT"}:
            dependant = getattr(route, "dependant", None)
            found[f"{method} {route.path}"] = list(declared(dependant)) if dependant else []
    return found


async def test_every_route_declares_exactly_one_policy(broker: Broker) -> None:
    found = policies(broker)
    assert {route: policy for route, policy in found.items() if len(policy) != 1} == {}
    assert len(found) > 40


async def test_the_contract_names_every_route_of_the_api_and_its_policy(broker: Broker) -> None:
    found = {route: policy[0] for route, policy in policies(broker).items()}
    public = {route for route, policy in found.items() if policy is Policy.PUBLIC}
    assert public == {
        "GET /api/health",
        "GET /pilot.pyz",
        "GET /openapi.json",
        "GET /static/{name}",
        "GET /favicon.ico",
    }
    assert {route for route, policy in found.items() if policy is Policy.PILOT} == {
        "POST /api/pilot/acquire",
        "POST /api/pilot/update",
        "POST /api/pilot/updates",
    }
    assert {route for route, policy in found.items() if policy is Policy.ADMIN} == {
        "POST /api/sites/apply",
        "POST /api/shares/apply",
        "POST /api/rules",
        "POST /api/tokens",
        "GET /api/tokens",
        "POST /api/tokens/{token}/revoke",
        "POST /api/quotas",
        "POST /api/quotas/work",
        "POST /api/queues/{name}/drain",
        "POST /api/queues/{name}/offline",
        "POST /api/queues/{name}/online",
        "POST /api/queues/{name}/test",
        "POST /api/storages/{name}/test",
        "POST /api/storages/{name}/audit",
    }
    for route, policy in found.items():
        if route.startswith(("POST", "DELETE")):
            assert policy in (Policy.USER, Policy.PILOT, Policy.ADMIN), route
        elif route not in public and route != "GET /api/tokens":  # who has keys is the admins' matter
            assert policy is Policy.READER, route


async def test_reading_is_free_only_where_the_settings_say_so(broker: Broker, closed_broker: Broker) -> None:
    assert (await broker.get("/api/tasks")).status_code == 200
    answer = await closed_broker.get("/api/tasks")
    assert (answer.status_code, problem(answer)["code"]) == (401, "token-missing")
    assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/api/health", "/openapi.json", "/pilot.pyz"):
        assert (await closed_broker.get(path)).status_code == 200


async def test_pages_take_the_token_from_a_cookie_but_verbs_do_not(closed_broker: Broker) -> None:
    token = await closed_broker.token("user", "ann")
    assert (await closed_broker.get("/")).status_code == 401
    cookie = {"Cookie": f"{COOKIE}={token}"}
    assert (await closed_broker.client.get("/", headers=cookie)).status_code == 200
    assert (await closed_broker.client.get("/api/tasks", headers=cookie)).status_code == 200
    answer = await closed_broker.client.post("/api/tasks", json=evgen().model_dump(), headers=cookie)
    assert (answer.status_code, problem(answer)["code"]) == (401, "token-missing")


async def test_each_fault_of_a_token_has_its_own_answer(broker: Broker) -> None:
    user, pilot = await broker.token("user", "ann"), await broker.token("pilot", "a", "A-BATCH")
    expired = await broker.token("user", "ann", lifetime=timedelta(seconds=-1))
    task = evgen().model_dump()
    codes = []
    for token in (None, "pc_nonsense", expired, pilot):
        answer = await broker.post("/api/tasks", task, token)
        codes.append((answer.status_code, problem(answer)["code"]))
    assert codes == [(401, "token-missing"), (401, "token-unknown"), (401, "token-expired"), (403, "forbidden")]
    assert (await broker.post("/api/tasks", task, user)).status_code == 201


async def test_other_schemes_than_bearer_are_refused(broker: Broker) -> None:
    for header, code in (("Basic YTpi", "token-unknown"), ("Bearer", "token-missing"), ("Bearer  ", "token-missing")):
        answer = await broker.client.post("/api/tokens", json={}, headers={"Authorization": header})
        assert (answer.status_code, problem(answer)["code"]) == (401, code)


async def test_a_bad_token_is_told_even_where_reading_is_free(broker: Broker) -> None:
    assert problem(await broker.get("/api/tasks", "pc_nonsense"))["code"] == "token-unknown"


@pytest.mark.parametrize("verb", ["kill", "retry"])
async def test_users_act_on_their_own_tasks_and_admins_on_all(verb: str, broker: Broker) -> None:
    task = await broker.world.submit(evgen(), owner="ann")
    await broker.world.pool.execute("UPDATE task SET state = 'ready' WHERE id = $1", task.id)
    await broker.world.pool.execute("UPDATE task SET state = 'aborted' WHERE id = $1", task.id)
    path = f"/api/tasks/{task.id}/{verb}"
    answer = await broker.post(path, None, await broker.token("user", "bob"))
    assert (answer.status_code, problem(answer)["code"]) == (403, "forbidden")
    assert (await broker.post(path, None, await broker.token("admin", "root"))).status_code == 200


async def test_jobs_and_datasets_belong_to_their_owner(broker: Broker) -> None:
    task = await broker.world.submit(evgen(), owner="ann")
    await broker.world.agents()
    job = await broker.world.value("SELECT min(id) FROM job WHERE task_id = $1", task.id)
    ann, bob = await broker.token("user", "ann"), await broker.token("user", "bob")
    for path, hers in ((f"/api/jobs/{job}/kill", 200), (f"/api/datasets/{task.key}/close", 409)):
        assert (await broker.post(path, None, bob)).status_code == 403
        assert (await broker.post(path, None, ann)).status_code == hers  # a task fills the dataset: even she may not


def acquire(**changes: Any) -> dict[str, Any]:
    return {
        "pilot": "p1",
        "request": "r1",
        "host": "node1",
        "cores": 1,
        "memory_mb": 2000,
        "remaining_s": 3600,
        "wait_s": 0,
    } | changes


async def test_a_pilot_cannot_touch_a_job_of_another_queue(broker: Broker) -> None:
    await broker.world.submit(evgen())
    await broker.world.agents()
    at_a, at_b = await broker.token("pilot", "a", "A-BATCH"), await broker.token("pilot", "b", "B-BATCH")
    [spec] = (await broker.post("/api/pilot/acquire", acquire(), at_a)).json()["jobs"]
    news = {"pilot": "p1", "updates": [{"job": spec["job"], "state": "running"}]}

    [answer] = (await broker.post("/api/pilot/update", news, at_b)).json()["answers"]
    assert answer["command"] == "discard"
    assert await broker.world.value("SELECT state FROM job WHERE id = $1", spec["job"]) == "sent"

    [answer] = (await broker.post("/api/pilot/update", news, at_a)).json()["answers"]
    assert answer["command"] == "continue"
    assert await broker.world.value("SELECT state FROM job WHERE id = $1", spec["job"]) == "running"


async def test_a_pilots_token_opens_nothing_but_the_pilots_calls(closed_broker: Broker) -> None:
    token = await closed_broker.token("pilot", "a", "A-BATCH")
    for route, policy in policies(closed_broker).items():
        method, path = route.split(" ", 1)
        if policy[0] in (Policy.PUBLIC, Policy.PILOT):
            continue
        path = path.replace("{id}", "1").replace("{task}", "1").replace("{job}", "1")
        headers = {"Authorization": f"Bearer {token}"}
        answer = await closed_broker.client.request(method, path, headers=headers)
        assert answer.status_code == 403, route


async def test_only_pilots_make_the_pilots_calls(broker: Broker) -> None:
    for kind in ("user", "admin"):
        answer = await broker.post("/api/pilot/acquire", acquire(), await broker.token(kind, "ann"))
        assert answer.status_code == 403
