"""Why by the API: its shape, for now and for the past."""

from prodchain.broker.api.documents import WhyView

from ..world import evgen, sim
from .conftest import Broker, problem


async def test_why_has_its_shape_whatever_there_is_to_say(broker: Broker) -> None:
    first = await broker.world.submit(evgen())
    second = await broker.world.submit(sim())
    large = await broker.world.submit(evgen(output="user.ann.large", memory_mb=9000))
    await broker.world.agents()
    await broker.world.run_one("B-BATCH")
    await broker.world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await broker.world.agents()
    at = (await broker.world.value("SELECT clock_timestamp()")).isoformat()
    asked = [f"/api/tasks/{task.id}/why" for task in (first, second, large)]
    asked += [f"/api/jobs/{row['id']}/why" for row in await broker.world.fetch("SELECT id FROM job")]
    for path in asked:
        for params in ({}, {"at": at}):
            answer = await broker.get(path, **params)
            assert answer.status_code == 200, answer.text
            view = WhyView.model_validate(answer.json())
            assert view.reasons
            assert not params or view.at.isoformat() == at


async def test_a_time_that_is_none_is_refused(broker: Broker) -> None:
    task = await broker.world.submit(evgen())
    for at in ("yesterday", "2026-11-22T10:00:00", "2999-01-01T00:00:00Z"):
        answer = await broker.get(f"/api/tasks/{task.id}/why", at=at)
        assert (answer.status_code, problem(answer)["object"]) == (422, "at"), answer.text
    early = await broker.get(f"/api/tasks/{task.id}/why", at="1999-01-01T00:00:00Z")
    assert (early.status_code, problem(early)["code"]) == (404, "not-found")
