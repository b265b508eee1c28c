"""The contract's routes, each at work once."""

import asyncio
import io
import zipfile
from typing import Any

import pytest

from prodchain.broker.api import documents
from prodchain.pilot_agent.messages import Acquired, JobSpec, decode

from ..world import SITES, evgen, finished, sim
from .conftest import Broker, problem
from .test_policies import acquire, policies


async def test_health_is_public_and_says_what_works(broker: Broker) -> None:
    answer = await broker.get("/api/health")
    assert answer.status_code == 200
    health = documents.Health.model_validate(answer.json())
    assert (health.status, health.database, health.agents_seen_s) == ("ok", "ok", None)


async def test_health_tells_that_the_database_is_away(broker: Broker) -> None:
    await broker.app.parts.dispatcher.stop()
    await broker.world.pool.close()
    answer = await broker.get("/api/health")
    assert (answer.status_code, answer.json()["status"], answer.json()["database"]) == (
        503,
        "degraded",
        "unavailable",
    )
    answer = await broker.get("/api/tasks")
    assert (answer.status_code, problem(answer)["code"]) == (503, "unavailable")


async def test_a_task_goes_through_the_api_from_submission_to_done(broker: Broker) -> None:
    token, pilot = await broker.token("user", "ann"), await broker.token("pilot", "a", "A-BATCH")
    answer = await broker.post("/api/tasks", evgen().model_dump(), token)
    assert answer.status_code == 201
    task = documents.SubmittedView.model_validate(answer.json())
    await broker.world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'B-BATCH'")
    await broker.world.agents()

    for number in range(4):
        answer = await broker.post("/api/pilot/acquire", acquire(request=f"r{number}"), pilot)
        spec = decode(JobSpec, answer.json()["jobs"][0])
        outputs = [vars(stored) for stored in finished(spec).outputs]
        news = {"job": spec.job, "state": "finished", "exit_code": 0, "outputs": outputs, "metrics": {"cpu_s": 1.5}}
        answer = await broker.post("/api/pilot/update", {"pilot": "p1", "updates": [news]}, pilot)
        assert [told["command"] for told in answer.json()["answers"]] == ["continue"]
    await broker.world.agents()

    done = (await broker.get(f"/api/tasks/{task.id}")).json()
    assert (done["state"], done["jobs"], done["events_done"]) == ("done", {"finished": 4}, 100)
    [why] = (await broker.get(f"/api/tasks/{task.id}/why")).json()["reasons"]
    assert "done" in why["what"]
    story = (await broker.get(f"/api/tasks/{task.id}/story")).json()["items"]
    assert [event["state"] for event in story if event["job"] is None][-1] == "done"
    files = (await broker.get(f"/api/datasets/{task.output}/files")).json()["items"]
    assert len(files) == 4


async def test_every_reading_route_answers(broker: Broker) -> None:
    task = await broker.world.submit(evgen())
    await broker.world.submit(sim())
    await broker.world.agents()
    await broker.world.run_one("A-BATCH")
    await broker.world.run_one("B-BATCH")
    await broker.world.pool.execute("INSERT INTO membership VALUES ('higgs', 'ann', true)")
    token = await broker.token("admin", "root")
    job = await broker.world.value("SELECT min(id) FROM job")
    wish = await broker.world.value("SELECT min(id) FROM subscription")
    asked: dict[str, dict[str, Any]] = {
        "/api/datasets/{did}/why": {"at": "A-DISK"},
        "/api/datasets/{did}/diff": {"other": task.key},
        "/api/brokerage/replay": {"task": task.id},
        "/api/rules/test": {"message": "std::bad_alloc"},
    }
    for route in policies(broker):
        method, path = route.split(" ", 1)
        if method != "GET" or path in ("/search", "/static/{name}"):
            continue
        params = asked.get(path, {})
        path = path.replace("/api/groups/{name}", "/api/groups/higgs")
        of = task.id if "tasks" in path else wish if "subscriptions" in path else job
        path = path.replace("{id}", str(of)).replace("{task}", str(task.id)).replace("{job}", str(job))
        path = path.replace("{did}", task.key).replace("{did:path}", task.key).replace("{site}", "A")
        answer = await broker.get(path.replace("{name}", "A-DISK"), token, **params)
        assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_task_is_killed_and_tried_again(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    task = (await broker.post("/api/tasks", evgen().model_dump(), token)).json()
    await broker.world.agents()
    killed = (await broker.post(f"/api/tasks/{task['id']}/kill", None, token)).json()
    assert (killed["changes"], killed["jobs"]) == ({"state": ["running", "aborted"]}, {"activated": 4})
    now = (await broker.get(f"/api/tasks/{task['id']}")).json()
    assert (now["state"], now["jobs"], now["actor"]) == ("aborted", {"cancelled": 4}, "user:ann")
    retried = (await broker.post(f"/api/tasks/{task['id']}/retry", None, token)).json()
    assert (retried["changes"], retried["jobs"]) == ({"state": ["aborted", "running"]}, {"defined": 4})
    answer = await broker.post(f"/api/tasks/{task['id']}/retry", None, token)
    assert (answer.status_code, problem(answer)["code"]) == (409, "wrong-state")


async def test_a_parked_pilot_gets_its_job_as_soon_as_there_is_one(broker: Broker) -> None:
    token = await broker.token("pilot", "a", "A-BATCH")
    parked = asyncio.create_task(broker.post("/api/pilot/acquire", acquire(wait_s=20), token))
    await asyncio.sleep(0.2)
    assert not parked.done()
    await broker.world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'B-BATCH'")
    await broker.world.submit(evgen())
    await broker.world.agents()
    answer = decode(Acquired, (await asyncio.wait_for(parked, 10)).json())
    assert len(answer.jobs) == 1


async def test_a_pilot_that_hung_up_gets_no_job(broker: Broker) -> None:
    token = await broker.token("pilot", "a", "A-BATCH")
    gone = asyncio.Event()
    sent: list[Any] = []
    body = b'{"pilot":"p1","request":"r1","host":"n","cores":1,"memory_mb":2000,"remaining_s":9999,"wait_s":20}'
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/api/pilot/acquire", "query_string": b"", "headers": headers}
    call = asyncio.create_task(broker.app(scope, receive, send))
    await asyncio.sleep(0.3)
    gone.set()
    await asyncio.wait_for(call, 5)

    await broker.world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'B-BATCH'")
    await broker.world.submit(evgen(events=25))
    await broker.world.agents()
    await asyncio.sleep(0.3)
    assert await broker.world.value("SELECT state FROM job") == "activated"


async def test_a_lost_answer_costs_no_job(broker: Broker) -> None:
    token = await broker.token("pilot", "a", "A-BATCH")
    await broker.world.submit(evgen())
    await broker.world.agents()
    first = (await broker.post("/api/pilot/acquire", acquire(), token)).json()
    assert (await broker.post("/api/pilot/acquire", acquire(), token)).json() == first


@pytest.mark.parametrize(
    ("changes", "field"), [({"wait_s": "long"}, "wait_s"), ({"pilot": None}, "pilot"), ({"cores": "x"}, "cores")]
)
async def test_a_bad_message_of_a_pilot_is_named_by_field(
    changes: dict[str, Any], field: str, broker: Broker
) -> None:
    token = await broker.token("pilot", "a", "A-BATCH")
    document = problem(await broker.post("/api/pilot/acquire", acquire(**changes), token))
    assert (document["code"], document["object"]) == ("bad-request", field)


async def test_fields_that_the_broker_does_not_know_are_no_mistake_of_a_pilot(broker: Broker) -> None:
    token = await broker.token("pilot", "a", "A-BATCH")
    assert (await broker.post("/api/pilot/acquire", acquire(gpu=1), token)).json()["jobs"] == []


async def test_a_log_with_zero_bytes_is_kept(broker: Broker) -> None:
    token = await broker.token("pilot", "a", "A-BATCH")
    await broker.world.submit(evgen())
    await broker.world.agents()
    [spec] = (await broker.post("/api/pilot/acquire", acquire(), token)).json()["jobs"]
    news = {"job": spec["job"], "state": "failed", "log": "a\0b µ\n", "error": "died of \0", "exit_code": 1}
    answer = await broker.post("/api/pilot/update", {"pilot": "p1", "updates": [news]}, token)
    assert answer.status_code == 200
    log = await broker.get(f"/api/jobs/{spec['job']}/log")
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    assert (log.text, (await broker.get(f"/api/jobs/{spec['job']}/log", start=4)).text) == ("a\ufffdb µ\n", "µ\n")


async def test_the_pilot_is_served_as_one_file(broker: Broker) -> None:
    answer = await broker.get("/pilot.pyz")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert "__main__.py" in archive.namelist()


async def test_an_admin_issues_tokens_that_work(broker: Broker) -> None:
    admin = await broker.token("admin", "root")
    wish = {"kind": "pilot", "subject": "a", "queue": "A-BATCH", "lifetime_s": 60}
    answer = await broker.post("/api/tokens", wish, admin)
    assert answer.status_code == 201
    issued = documents.IssuedToken.model_validate(answer.json())
    assert (await broker.post("/api/pilot/acquire", acquire(), issued.token)).status_code == 200
    for bad, status in (
        ({"queue": None}, 422),
        ({"queue": "C"}, 404),
        ({"lifetime_s": 0}, 422),
        ({"subject": "a b"}, 422),
    ):
        assert (await broker.post("/api/tokens", wish | bad, admin)).status_code == status


async def test_a_sites_file_is_tried_then_applied(broker: Broker) -> None:
    admin = await broker.token("admin", "root")
    text = SITES.replace("slots = 2", "slots = 3")
    file = {"files": {"sites.toml": text}, "base": str(broker.world.folder), "dry_run": True}
    tried = (await broker.post("/api/sites/apply", file, admin)).json()["changes"]
    assert len(tried) == 2
    assert await broker.world.value("SELECT sum(slots) FROM queue") == 4
    assert (await broker.post("/api/sites/apply", file | {"dry_run": False}, admin)).json()["changes"] == tried
    assert await broker.world.value("SELECT sum(slots) FROM queue") == 6
    answer = await broker.post("/api/sites/apply", file | {"files": {"s.toml": "home = 3"}}, admin)
    assert (answer.status_code, problem(answer)["code"]) == (422, "bad-site-file")
    revision = (await broker.get("/api/sites/history")).json()["items"][0]
    assert (revision["actor"], revision["changes"], revision["text"]) == ("root", tried, text)


async def test_a_verb_that_fails_leaves_nothing_half_done(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    answer = await broker.post("/api/tasks", evgen(destination="NOWHERE").model_dump(), token)
    assert answer.status_code == 422
    assert await broker.world.value("SELECT count(*) FROM dataset") == 0


async def test_the_description_of_the_api_is_complete(broker: Broker) -> None:
    description = (await broker.get("/openapi.json")).json()
    for path, verbs in description["paths"].items():
        for verb, operation in verbs.items():
            assert operation["summary"], path
            assert "4XX" in operation["responses"], path
            assert bool(operation.get("security")) == (path not in ("/api/health", "/pilot.pyz")), (path, verb)


async def test_lists_are_continued_by_their_mark(broker: Broker) -> None:
    for number in range(3):
        await broker.world.submit(evgen(output=f"mc26.70000{number}.Z.evgen.EVNT.v1"))
    first = (await broker.get("/api/tasks", limit=2)).json()
    second = (await broker.get("/api/tasks", limit=2, after=first["next"])).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 1, None)
    whole = (await broker.get("/api/tasks")).json()["items"]
    assert first["items"] + second["items"] == whole


async def test_answers_are_read_while_a_write_is_open(broker: Broker) -> None:
    task = await broker.world.submit(evgen())
    async with broker.world.pool.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE task SET priority = 5 WHERE id = $1", task.id)
        answer = await asyncio.wait_for(broker.get(f"/api/tasks/{task.id}"), 5)
    assert answer.json()["priority"] == 1000
