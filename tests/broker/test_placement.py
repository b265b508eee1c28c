"""From decisions to facts: what goes together, what is kept, and when a task is asked about again."""

from typing import Any

import pytest

from prodchain.broker import decision_views, decisions, placement
from prodchain.broker.bunches import Pace
from prodchain.broker.database import Pool
from prodchain.broker.errors import BadRequest, NotFound
from prodchain.broker.models import Task
from prodchain.broker.offers import offers
from prodchain.broker.patience import AGAIN_S, Patience, Placer
from prodchain.broker.placement import Waiting

from .world import World, evgen, inside, sim

LATER = "2100-01-01T00:00:00+00:00"


async def made(world: World) -> Task:
    """A task whose input is at A-DISK only, and whose jobs wait for the brokerage."""
    await world.submit(evgen())
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'B-BATCH'")
    await world.run_all()
    await world.pool.execute("UPDATE queue SET status = 'online' WHERE name = 'B-BATCH'")
    task = await world.submit(sim())
    await inside(world.pool, _generate, task.id)
    return task


async def _generate(conn: Any, task_id: int) -> int:
    from prodchain.broker.generation import generate

    return await generate(conn, task_id)


async def sized(world: World, bytes: str) -> None:  # noqa: A002
    """What never happens: the files' sizes change."""
    await world.pool.execute("ALTER TABLE file DISABLE TRIGGER USER")
    await world.pool.execute(f"UPDATE file SET bytes = {bytes}")
    await world.pool.execute("ALTER TABLE file ENABLE TRIGGER USER")


async def place(world: World, task: Task) -> placement.Outcome:
    outcome: placement.Outcome = await inside(world.pool, placement.place, task.id, Pace(1.0, 30.0))
    return outcome


async def offline(world: World, *names: str) -> None:
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = ANY($1)", list(names))


async def kept(world: World, task: Task) -> list[Any]:
    return await world.fetch("SELECT * FROM assignment WHERE task_id = $1 ORDER BY id", task.id)


async def replay(world: World, task: Task, at: str | None = None) -> Any:
    moment = await world.value("SELECT $1::text::timestamptz", at)
    return await inside(world.pool, decision_views.replayed, task.id, moment)


async def test_jobs_whose_files_differ_in_size_a_little_are_one_decision(world: World) -> None:
    task = await made(world)
    await sized(world, "1000 + id")
    await offline(world, "A-BATCH")
    outcome = await place(world, task)
    assert [(made.queue is not None, len(made.jobs)) for _, made in outcome.decisions] == [(True, 4)]
    (need, _) = outcome.decisions[0]
    assert [(each.files, each.bytes > 4000) for each in need.inputs] == [(4, True)]


async def test_missing_inputs_go_into_dispatch_datasets_of_bounded_size_and_jobs_start_file_by_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await made(world)
    await offline(world, "A-BATCH")
    monkeypatch.setattr(placement, "DISPATCH_FILES", 3)
    await place(world, task)
    rows = await world.fetch("SELECT files, state FROM dataset WHERE kind = 'dispatch' ORDER BY id")
    assert [tuple(row) for row in rows] == [(3, "closed"), (1, "closed")]
    held = await world.fetch("SELECT dataset_id, count(*) FROM hold GROUP BY 1 ORDER BY 1")
    assert [row["count"] for row in held] == [3, 1]
    assert await world.states(task) == ["assigned"] * 4
    await world.move(1)
    assert sorted(await world.states(task)) == ["activated"] + ["assigned"] * 3


async def test_the_bytes_of_a_dispatch_dataset_are_bounded_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await made(world)
    await offline(world, "A-BATCH")
    monkeypatch.setattr(placement, "DISPATCH_BYTES", 1)  # less than a file: each job's files are a dataset
    await place(world, task)
    assert await world.value("SELECT count(*) FROM dataset WHERE kind = 'dispatch'") == 4


async def test_each_job_is_judged_by_its_own_requirement_and_by_where_it_failed(world: World) -> None:
    task = await made(world)
    job, other = [
        row["id"] for row in await world.fetch("SELECT id FROM job WHERE task_id = $1 ORDER BY id LIMIT 2", task.id)
    ]
    more = await world.value("INSERT INTO requirement (memory_mb) VALUES (4000) RETURNING id")
    await world.pool.execute("UPDATE job SET requirement_id = $2 WHERE id = $1", job, more)
    await world.pool.execute("UPDATE queue SET memory_mb = 5000 WHERE name = 'B-BATCH'")
    await world.pool.execute("""UPDATE pilot SET offer = offer || '{"memory_mb": 5000}'""")
    await world.pool.execute(
        "UPDATE job SET avoid = (SELECT jsonb_build_array(id) FROM queue WHERE name = 'A-BATCH') WHERE id = $1", other
    )
    await place(world, task)
    rows = await world.fetch(
        "SELECT j.id, q.name FROM job j JOIN queue q ON q.id = j.queue_id WHERE task_id = $1 ORDER BY j.id", task.id
    )
    assert [row["name"] for row in rows] == ["B-BATCH", "B-BATCH", "A-BATCH", "A-BATCH"]


async def test_what_people_set_is_asked_for(world: World) -> None:
    task = await made(world)
    await world.pool.execute("""UPDATE task SET changes = '{"sites": ["B"]}' WHERE id = $1""", task.id)
    outcome = await place(world, task)
    assert outcome.decisions[0][1].verdicts[0].reason == "only B may be taken"


async def test_a_throttled_task_is_passed_over_and_a_quota_bounds_what_is_placed(world: World) -> None:
    task = await made(world)
    await world.pool.execute("UPDATE task SET throttled = 'quota of ann' WHERE id = $1", task.id)
    assert await inside(world.pool, placement.waiting) == []
    assert (await place(world, task)).placed == 0
    await world.pool.execute("UPDATE task SET throttled = '' WHERE id = $1", task.id)
    await world.pool.execute("INSERT INTO work_quota (subject, running) VALUES ('user:ann', 3)")
    assert (await place(world, task)).placed == 3
    assert (await kept(world, task))[-1]["reason"].startswith("the quota of user:ann is used up")


async def test_a_refusal_that_says_the_same_keeps_its_row_and_round(world: World) -> None:
    task = await made(world)
    await offline(world, "A-BATCH", "B-BATCH")
    await place(world, task)
    (first,) = await kept(world, task)
    await world.pool.execute("UPDATE job_sum SET jobs = jobs WHERE false")
    await place(world, task)
    (again,) = await kept(world, task)
    assert (again["id"], again["round_id"]) == (first["id"], first["round_id"])
    assert again["until"] > first["until"]
    assert await world.value("SELECT count(*) FROM round WHERE task_id = $1", task.id) == 1
    await world.pool.execute("UPDATE queue SET memory_mb = 10 WHERE name = 'B-BATCH'")
    await place(world, task)
    assert len(await kept(world, task)) == 2


async def test_each_kind_of_a_tasks_jobs_has_its_refusal_once(world: World) -> None:
    task = await made(world)
    await world.pool.execute(
        "WITH new AS (INSERT INTO requirement (memory_mb) VALUES (99000) RETURNING id)"
        " UPDATE job SET requirement_id = new.id FROM new WHERE number = 1"
    )
    await offline(world, "A-BATCH", "B-BATCH")
    for _ in range(3):
        await place(world, task)
    assert len(await kept(world, task)) == 2
    assert await world.value("SELECT count(*) FROM round WHERE task_id = $1", task.id) == 1


async def test_numbers_in_a_sentence_do_not_make_a_refusal_another_one(world: World) -> None:
    task = await made(world)
    await world.pool.execute("UPDATE storage SET capacity_bytes = 100, min_free_bytes = 1000")
    await place(world, task)
    await world.pool.execute("UPDATE storage SET min_free_bytes = 2000")
    await place(world, task)
    assert len(await kept(world, task)) == 1


async def test_yesterdays_decision_is_reached_again_whatever_today_is_like(world: World) -> None:
    task = await made(world)
    await place(world, task)
    before = await replay(world, task)
    assert before["same"]
    assert [(each["queue"], each["jobs"]) for each in before["decisions"]] == [("A-BATCH", 2), ("B-BATCH", 2)]
    assert before["stored"][0]["reason"] == before["decisions"][0]["reason"]
    await offline(world, "A-BATCH")
    await world.pool.execute("UPDATE queue SET memory_mb = 10, slots = 99")
    await sized(world, "bytes * 1000")
    await world.move()
    await world.pool.execute("DELETE FROM pilot")
    after = await replay(world, task)
    assert after | {"at": before["at"]} == before


async def test_a_past_moment_is_told_apart_from_later_ones(world: World) -> None:
    task = await made(world)
    await offline(world, "A-BATCH", "B-BATCH")
    await place(world, task)
    moment = await world.value("SELECT now()::text")
    await world.pool.execute("UPDATE queue SET status = 'online'")
    await place(world, task)
    then, now = await replay(world, task, moment), await replay(world, task)
    assert (then["decisions"][0]["queue"], now["decisions"][0]["queue"]) == (None, "A-BATCH")
    assert then["same"] and now["same"]
    refusal = then["decisions"][0]["verdicts"][0]["failures"][0]
    assert refusal["remedies"][0]["change"] == {"queue": {"status": "online"}}


async def test_a_changed_record_is_noticed(world: World) -> None:
    task = await made(world)
    await place(world, task)
    await world.pool.execute("UPDATE assignment SET verdicts = jsonb_set(verdicts, '{0,weight}', '0.5')")
    assert not (await replay(world, task))["same"]


async def test_other_words_for_the_same_decision_are_the_same_decision(world: World) -> None:
    task = await made(world)
    await offline(world, "B-BATCH")
    await place(world, task)
    await world.pool.execute(
        """
        UPDATE assignment SET reason = 'as older words had it', verdicts = (
            SELECT jsonb_agg(each || jsonb_build_object('reason', 'older', 'remedy', 'older', 'failures', (
                SELECT coalesce(jsonb_agg(failure || '{"reason": "older", "remedies": []}'), '[]')
                FROM jsonb_array_elements(each -> 'failures') failure)))
            FROM jsonb_array_elements(verdicts) each)
        """
    )
    assert (await replay(world, task))["same"]
    await world.pool.execute(
        """UPDATE assignment SET verdicts = replace(verdicts::text, '"status"', '"memory"')::jsonb"""
    )
    assert not (await replay(world, task))["same"]


async def test_a_time_to_come_is_refused(world: World) -> None:
    with pytest.raises(BadRequest, match="2100-01-01 00:00:00 UTC is in the future"):
        await replay(world, await made(world), LATER)


async def test_a_queue_that_is_refused_for_other_news_of_its_health_is_another_refusal(world: World) -> None:
    """Who asks why is told what holds the queue back now, not what did at first."""
    task = await made(world)
    await offline(world, "B-BATCH")
    for reason in ("10 of the last 10 runs failed", "10 of the last 10 runs failed", "its canary failed"):
        await world.pool.execute(
            """
            INSERT INTO queue_health (queue_id, health, reason) SELECT id, 'drained', $1 FROM queue
            WHERE name = 'A-BATCH' ON CONFLICT (queue_id) DO UPDATE SET reason = $1
            """,
            reason,
        )
        await place(world, task)
    first, second = await kept(world, task)
    assert "A-BATCH: it is drained: 10 of the last 10 runs failed" in first["reason"]
    assert "A-BATCH: it is drained: its canary failed" in second["reason"]


async def test_what_is_old_is_forgotten_in_slices_and_said_to_be_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await made(world)
    with pytest.raises(NotFound, match="nothing was decided about it by"):
        await replay(world, task)
    await offline(world, "A-BATCH", "B-BATCH")
    await place(world, task)
    await world.pool.execute("UPDATE queue SET status = 'online' WHERE name = 'A-BATCH'")
    await place(world, task)
    assert await inside(world.pool, decisions.forget, 30) == 0
    assert len(await kept(world, task)) == 2
    await world.pool.execute("UPDATE round SET at = at - interval '31 days'")
    await world.pool.execute("UPDATE assignment SET until = until - interval '31 days'")
    monkeypatch.setattr(decisions, "OLD", 1)
    turns = 0
    while await inside(world.pool, decisions.forget, 30):
        turns += 1
    assert turns >= 2
    assert await world.value("SELECT count(*) FROM round") == 0
    assert [row["queue_id"] is None for row in await kept(world, task)] == [False]  # where jobs are is kept
    with pytest.raises(NotFound, match="its round is not kept any more"):
        await replay(world, task)


async def test_a_trial_says_where_a_task_would_go_and_what_would_move(world: World) -> None:
    task = await made(world)
    await offline(world, "A-BATCH")
    await sized(world, "10^9")

    async def tried(conn: Any) -> Any:
        return await decision_views.trial(conn, task, Pace(1.0, 30.0), new=True)

    view = await inside(world.pool, tried)
    assert (view["jobs"], view["all_jobs"], view["new"]) == (4, True, True)
    (decision,) = view["decisions"]
    assert (decision["queue"], decision["jobs"], decision["files"], decision["bytes"]) == ("B-BATCH", 4, 4, 4 * 10**9)
    assert decision["seconds"] == 200  # 20 MB/s are expected of a link that nobody has tried
    assert await kept(world, task) == []


async def due(placer: Placer, pool: Pool) -> list[int]:
    found: list[int] = await inside(pool, placer.due)
    return found


async def test_a_refused_task_is_asked_about_again_when_something_changed(world: World) -> None:
    task = await made(world)
    await offline(world, "A-BATCH", "B-BATCH")
    placer = Placer(Pace(1.0, 30.0))
    assert await due(placer, world.pool) == [task.id]
    assert await inside(world.pool, placer.place, task.id) == 0
    assert await due(placer, world.pool) == []
    await world.pool.execute("UPDATE task SET changes = '{\"priority\": 7}' WHERE id = $1", task.id)
    assert await due(placer, world.pool) == [task.id]
    await inside(world.pool, placer.place, task.id)
    assert await due(placer, world.pool) == []
    await world.pool.execute("UPDATE queue SET status = 'online' WHERE name = 'A-BATCH'")
    assert await due(placer, world.pool) == [task.id]
    assert await inside(world.pool, placer.place, task.id) == 4
    assert await due(placer, world.pool) == []


async def test_a_task_that_waits_for_room_is_asked_about_when_there_is_some(world: World) -> None:
    first = await world.submit(evgen(events=1000))  # 40 jobs, and 40 may wait at both queues
    second = await world.submit(evgen(events=50, output="mc26.700002.Z.evgen.EVNT.v1"))
    for task in (first, second):
        await inside(world.pool, _generate, task.id)
    placer = Placer(Pace(1.0, 30.0))
    assert await due(placer, world.pool) == [first.id, second.id]
    assert await inside(world.pool, placer.place, first.id) == 40
    assert await inside(world.pool, placer.place, second.id) == 0
    assert await due(placer, world.pool) == []
    await world.acquire("A-BATCH")
    assert await due(placer, world.pool) == [second.id]
    assert await inside(world.pool, placer.place, second.id) == 1
    assert await due(placer, world.pool) == []


async def test_patience_ends_after_a_while(world: World) -> None:
    task = await made(world)
    await offline(world, "A-BATCH", "B-BATCH")
    patience, waiting = Patience(), Waiting(task.id or 0, 1, "1")
    now = await inside(world.pool, offers)
    patience.look(now, 100.0)
    patience.note(waiting, await place(world, task))
    patience.look(now, 99.0 + AGAIN_S)
    assert not patience.due(waiting)
    patience.look(now, 100.0 + AGAIN_S)
    assert patience.due(waiting)
    patience.look(now, 100.0)
    assert patience.due(Waiting(waiting.id, 2, "1"))


async def test_tasks_that_no_queue_suits_are_not_in_the_way_of_others_however_many(world: World) -> None:
    task = await world.submit(evgen(priority=1))
    await inside(world.pool, _generate, task.id)
    await world.pool.execute(
        """
        WITH made AS (
            INSERT INTO task (key, step, owner, state, priority, output_id, destination_id)
            SELECT 'k' || n, 'sim', 'bob', 'running', 5000, $1, 1 FROM generate_series(1, 1001) n RETURNING id
        ) INSERT INTO job (task_id, number) SELECT id, 1 FROM made
        """,
        task.output_id,
    )
    assert task.id in [each.id for each in await inside(world.pool, placement.waiting)]
