"""A site fails every job for a while: the agents' own loops take it out of service and back, and nothing is lost."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from prodchain.broker.agents import Agents
from prodchain.broker.settings import Settings
from prodchain.broker.why import job_why
from prodchain.pilot_agent.messages import JobSpec, Update

from .world import World, evgen, finished, inside

PATIENCE_S = 60.0


async def test_a_site_that_fails_every_job_for_a_while_loses_none_and_is_back_by_itself(
    world: World, database_url: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, database_url=database_url, canary_s=1)
    tasks = [
        await world.submit(
            evgen(output=f"mc26.70000{n}.Z.evgen.EVNT.v1", events=30, events_per_job=1, max_attempts=2)
        )
        for n in range(3)
    ]
    agents = Agents(world.pool, settings)
    running = asyncio.create_task(agents.run())
    stories: set[str] = set()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await done(world) or await health_of_a(world) != "good":
                drains = await world.value("SELECT count(*) FROM journal WHERE verb = 'drained'")
                await pilot(world, "A-BATCH", broken=drains < 2)  # until its first canary has failed, too
                await pilot(world, "B-BATCH", broken=False)
                stories |= await why_not(world)
                await asyncio.sleep(0.02)
    finally:
        agents.stop()
        await running
    for task in tasks:
        states = await world.states(task)
        assert states.count("finished") == 30
        assert await world.value("SELECT state FROM dataset WHERE id = $1", task.output_id) == "closed"
    told = await world.fetch("SELECT verb, actor, reason FROM journal WHERE object = 'queue A-BATCH' ORDER BY id")
    assert [row["verb"] for row in told] == ["drained", "probing", "drained", "probing", "good"]
    assert {row["actor"] for row in told} == {"watch"}
    assert "runs failed, " in told[0]["reason"]
    assert "with 'payload failed with exit code " in told[0]["reason"]
    assert told[2]["reason"].startswith("its canary failed: task ")
    assert any("A-BATCH: it is drained: " in story for story in stories)


async def pilot(world: World, queue: str, *, broken: bool) -> None:
    """One job, if there is one: its outputs are real files, which movers take home."""
    spec = await world.acquire(queue)
    if spec is None:
        return
    write(spec)
    events = await world.value("SELECT events FROM job WHERE id = $1", spec.job)
    error = f"payload failed with exit code {spec.job}"
    news = Update(spec.job, "failed", error=error) if broken else finished(spec, events)
    while True:
        try:
            await world.report(queue, "p1", news)
        except asyncpg.DeadlockDetectedError:  # a report met a mover; pilots repeat it as well
            continue
        return


def write(spec: JobSpec) -> None:
    for output in spec.outputs:
        path = Path(urlsplit(output.url).path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(output.lfn)


async def why_not(world: World) -> set[str]:
    """What is said of the oldest job that waits for a queue while A is out of service."""
    job = await world.value("SELECT min(job_id) FROM unplaced")
    if job is None or await health_of_a(world) == "good":
        return set()
    return {reason["what"] for reason in (await inside(world.pool, job_why, job))["reasons"]}


async def done(world: World) -> bool:
    return bool(await world.value("SELECT bool_and(state = 'done') FROM task WHERE step <> 'canary'"))


async def health_of_a(world: World) -> str:
    return str(
        await world.value(
            "SELECT coalesce(max(h.health), 'good') FROM queue_health h JOIN queue q ON q.id = h.queue_id"
            " WHERE q.name = 'A-BATCH'"
        )
    )
