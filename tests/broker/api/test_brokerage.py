"""Submissions on trial and decisions made again, by the API."""

from prodchain.broker.api import documents

from ..world import evgen, sim
from .conftest import Broker, problem


async def test_a_submission_on_trial_says_where_it_would_go_and_changes_nothing(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    request = evgen(memory_mb=1500).model_dump(mode="json")
    await broker.world.pool.execute("UPDATE queue SET memory_mb = 1000 WHERE name = 'A-BATCH'")
    answer = await broker.post("/api/tasks?dry_run=true", request, token)
    assert answer.status_code == 200
    trial = documents.TrialView.model_validate(answer.json())
    assert (trial.jobs, trial.all_jobs, trial.new, trial.notice, trial.waits) == (4, True, True, "", "")
    (decision,) = trial.decisions
    assert (decision.queue, decision.jobs, decision.bytes) == ("B-BATCH", 4, 0)
    refused = next(verdict for verdict in decision.verdicts if not verdict.passed)
    assert refused.failures[0].remedies[0].change == {"task": {"memory_mb": 1000}}
    for table in ("task", "job", "round", "assignment", "dataset", "event", "mass_event"):
        assert await broker.world.value(f"SELECT count(*) FROM {table}") == 0
    assert (await broker.post("/api/tasks", request, token)).status_code == 201


async def test_a_trial_is_refused_as_the_submission_would_be(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    answer = await broker.post("/api/tasks?dry_run=true", sim().model_dump(mode="json"), token)
    assert (answer.status_code, problem(answer)["code"]) == (404, "dataset-not-found")


async def test_a_trial_says_that_a_quota_would_make_it_wait(broker: Broker) -> None:
    await broker.world.pool.execute("INSERT INTO work_quota (subject, running) VALUES ('user:ann', 0)")
    token = await broker.token("user", "ann")
    trial = (await broker.post("/api/tasks?dry_run=true", evgen().model_dump(mode="json"), token)).json()
    assert trial["notice"].startswith("quota of user:ann")
    assert [decision["queue"] for decision in trial["decisions"]] == [None]
    assert trial["jobs"] == 4


async def test_a_decision_is_made_again_by_the_api(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    task = (await broker.post("/api/tasks", evgen().model_dump(mode="json"), token)).json()["id"]
    answer = await broker.get("/api/brokerage/replay", task=task)
    assert (answer.status_code, problem(answer)["code"]) == (404, "not-found")
    await broker.world.agents()
    await broker.world.pool.execute("UPDATE queue SET status = 'offline'")
    found = documents.ReplayView.model_validate((await broker.get("/api/brokerage/replay", task=task)).json())
    assert (found.same, found.notes) == (True, [])
    assert sum(decision.jobs for decision in found.decisions) == 4
    assert {decision.queue for decision in found.stored} == {"A-BATCH", "B-BATCH"}
    early = await broker.get("/api/brokerage/replay", task=task, at="2001-01-01T00:00:00Z")
    assert early.status_code == 404
    assert "by 2001-01-01" in problem(early)["detail"]
    for at in ("2001-01-01", "2100-01-01T00:00:00Z"):
        assert (await broker.get("/api/brokerage/replay", task=task, at=at)).status_code == 422
