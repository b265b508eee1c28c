"""Orders for tasks: each is carried out once, leaves one entry in the journal, and can be tried first."""

from typing import Any

import pytest

from prodchain.broker import journal, order_slices, orders, task_changes
from prodchain.broker.errors import BadRequest, WrongState
from prodchain.broker.journal import Outcome
from prodchain.broker.models import Task
from prodchain.pilot_agent.messages import Update

from .world import World, evgen, inside, sim

ANN = "user:ann"


async def give(world: World, order: Any, *values: Any, **more: Any) -> Outcome:
    async def act(conn: Any) -> Outcome:
        outcome: Outcome = await order(conn, *values, **more)
        return outcome

    outcome: Outcome = await inside(world.pool, act)
    return outcome


async def entries(world: World, **filters: Any) -> list[dict[str, Any]]:
    async with world.pool.acquire() as conn:
        return (await journal.entries(conn, **filters))[0]


async def state(world: World, task: Task) -> str:
    return str(await world.value("SELECT state FROM task WHERE id = $1", task.id))


async def placed(world: World, **changes: Any) -> Task:
    task = await world.submit(evgen(**changes))
    await world.agents()
    return task


async def test_a_paused_task_takes_its_jobs_back_and_goes_on_where_it_was(world: World) -> None:
    task = await placed(world)
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    paused = await give(world, orders.pause, task.id, ANN, "the release is bad")
    assert paused.changes == {"state": ["running", "paused"]}
    assert paused.jobs == {"activated": 3}
    await world.agents()
    assert sorted(await world.states(task)) == ["defined", "defined", "defined", "sent"]
    await world.report("A-BATCH", "p1", Update(spec.job, "running"))  # what a pilot has runs on

    assert (await give(world, orders.pause, task.id, ANN)).note.endswith("is paused already: nothing changes")
    resumed = await give(world, orders.resume, task.id, ANN)
    assert resumed.changes == {"state": ["paused", "running"]}
    assert (await give(world, orders.resume, task.id, ANN)).changed is False
    found = await entries(world, object=f"task {task.id}")
    assert [(each["verb"], each["actor"], each["reason"]) for each in found] == [
        ("resume", ANN, ""),
        ("pause", ANN, "the release is bad"),
    ]
    await world.report("A-BATCH", "p1", Update(spec.job, "failed", error="killed by a test"))
    await world.run_all()
    assert await state(world, task) == "done"


@pytest.mark.parametrize("before", ["registered", "running"])
async def test_a_task_may_be_paused_before_it_has_jobs(before: str, world: World) -> None:
    task = await world.submit(evgen())
    if before == "running":
        await world.agents()
    await give(world, orders.pause, task.id, ANN)
    assert (await give(world, orders.resume, task.id, ANN)).changes == {"state": ["paused", before]}
    await world.run_all()
    assert await state(world, task) == "done"


async def test_a_task_finishes_with_what_there_is_and_a_retry_makes_the_rest(world: World) -> None:
    task = await placed(world)
    assert await world.run_one("A-BATCH") is not None
    await world.move()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    finishing = await give(world, orders.finish, task.id, ANN, "enough for the plot")
    assert finishing.changes == {"ending": [False, True]}
    assert sum(finishing.jobs.values()) == 2
    assert (await give(world, orders.finish, task.id, ANN)).note.endswith("is ending already: nothing changes")

    await world.report("A-BATCH", "p1", Update(spec.job, "failed", error="no space"))  # it is not tried again
    await world.agents()
    assert await state(world, task) == "finished"
    assert sorted(set(await world.states(task))) == ["cancelled", "failed", "finished"]

    retried = await give(world, orders.retry, task.id, ANN)
    assert retried.changes == {"state": ["finished", "running"], "ending": [True, False]}
    assert retried.jobs == {"defined": 3}
    await world.run_all()
    assert await state(world, task) == "done"
    assert await world.value("SELECT events FROM dataset WHERE id = $1", task.output_id) == 100


async def test_a_task_that_was_ended_before_all_jobs_were_made_is_not_done_but_a_retry_completes_it(
    world: World,
) -> None:
    first = await placed(world, events=50)
    second = await world.submit(sim())
    assert await world.run_one("A-BATCH") is not None  # one file of two, its input is open
    await world.agents()
    assert await world.run_one("A-BATCH") is not None or await world.run_one("B-BATCH") is not None
    await world.run_one("A-BATCH")
    await give(world, orders.finish, second.id, ANN)
    await world.run_all()
    assert await state(world, first) == "done"
    assert await state(world, second) == "finished"
    await give(world, orders.retry, second.id, ANN)
    await world.run_all()
    assert await state(world, second) == "done"
    assert await world.value("SELECT events FROM dataset WHERE id = $1", second.output_id) == 50


async def test_what_a_changed_task_asks_for_reaches_jobs_without_pilots_and_jobs_to_come(world: World) -> None:
    task = await placed(world)
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    outcome = await give(world, task_changes.change, task.id, {"memory_mb": 1500, "cores": 2, "priority": 5}, ANN)
    assert outcome.changes == {"memory_mb": [1000, 1500], "cores": [1, 2], "priority": [1000, 5]}
    assert outcome.jobs == {"activated": 3}
    rows = await world.fetch(
        "SELECT j.state, r.memory_mb, r.cores, j.priority FROM job j JOIN requirement r ON r.id = j.requirement_id"
        " ORDER BY j.state"
    )
    assert [tuple(row) for row in rows] == [("defined", 1500, 2, 5)] * 3 + [("sent", 1000, 1, 5)]
    again = await give(world, task_changes.change, task.id, {"memory_mb": 1500}, ANN)
    assert (again.changed, again.note) == (False, f"task {task.id} asks for that already: nothing changes")
    counted = await world.fetch(
        "SELECT state, sum(cores)::int AS cores FROM job_count GROUP BY state HAVING sum(cores) <> 0 ORDER BY state"
    )
    assert [tuple(row) for row in counted] == [("defined", 6), ("sent", 1)]
    assert len(await entries(world)) == 1


async def test_a_priority_alone_leaves_jobs_at_their_queue(world: World) -> None:
    task = await placed(world)
    await give(world, task_changes.change, task.id, {"priority": 2000}, ANN)
    assert set(await world.states(task)) == {"activated"}
    assert await world.value("SELECT array_agg(DISTINCT priority) FROM ready") == [2000]
    assert await world.value("SELECT priority FROM task WHERE id = $1", task.id) == 2000


async def test_pieces_that_are_not_made_yet_take_the_new_size(world: World) -> None:
    first = await placed(world)
    second = await world.submit(sim())
    await give(world, task_changes.change, second.id, {"files_per_job": 2}, ANN)
    await world.run_all()
    assert await state(world, first) == "done"
    assert await world.states(second) == ["finished", "finished"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory_mb": 0}, "memory_mb: Input should be greater"),
        ({"files_per_job": 3}, "files_per_job"),
        ({"output": "mc26.1.X.evgen.EVNT.v1"}, "output of a task cannot be changed"),
        ({"destination": "B-DISK"}, "destination of a task cannot be changed"),
        ({"sites": ["ATLANTIS"]}, "no site or queue ATLANTIS"),
    ],
)
async def test_a_change_that_no_request_could_have_is_refused(
    changes: dict[str, Any], words: str, world: World
) -> None:
    task = await placed(world)
    with pytest.raises(BadRequest, match=words):
        await give(world, task_changes.change, task.id, changes, ANN)
    assert await entries(world) == []


async def test_reassigned_jobs_go_where_they_are_sent(world: World) -> None:
    task = await placed(world, events=50)
    outcome = await give(world, task_changes.reassign, task.id, "B", ANN, "A is slow")
    assert (outcome.verb, outcome.changes) == ("reassign", {"sites": [[], ["B"]]})
    assert sum(outcome.jobs.values()) == 2
    await world.agents()
    queues = "SELECT DISTINCT q.name FROM job j JOIN queue q ON q.id = j.queue_id"
    assert [row["name"] for row in await world.fetch(queues)] == ["B-BATCH"]
    assert (await give(world, task_changes.reassign, task.id, "B", ANN)).changed is False
    anew = await give(world, task_changes.reassign, task.id, None, ANN)
    assert anew.jobs == {"activated": 2} and set(await world.states(task)) == {"defined"}
    assert (await give(world, task_changes.reassign, task.id, None, ANN)).note.endswith("nothing changes")
    assert len(await entries(world, verb="reassign")) == 2


async def test_orders_that_make_no_sense_in_a_state_say_what_does(world: World) -> None:
    task = await world.submit(evgen(events=25))
    with pytest.raises(WrongState, match="has made no jobs"):
        await give(world, orders.finish, task.id, ANN)
    await world.run_all()
    for order in (orders.pause, orders.resume, orders.retry):
        with pytest.raises(WrongState):
            await give(world, order, task.id, ANN)
    with pytest.raises(WrongState):
        await give(world, task_changes.reassign, task.id, None, ANN)
    for order in (orders.kill, orders.finish):
        assert (await give(world, order, task.id, ANN)).note == f"task {task.id} is done already: nothing changes"
    assert await entries(world) == []


@pytest.mark.parametrize("verb", ["kill", "pause", "finish", "retry", "set"])
async def test_an_order_on_a_large_task_is_done_in_slices(
    verb: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await placed(world, events=100, events_per_job=10)
    if verb == "retry":
        await give(world, orders.kill, task.id, ANN)
    monkeypatch.setattr(order_slices, "SLICE", 3)
    order: Any = {"kill": orders.kill, "pause": orders.pause, "finish": orders.finish, "retry": orders.retry}.get(
        verb
    )
    if verb == "set":
        outcome = await give(world, task_changes.change, task.id, {"memory_mb": 1250}, ANN)
    else:
        outcome = await give(world, order, task.id, ANN)
    assert sum(outcome.jobs.values()) == 10
    reached = {"kill": "cancelled", "finish": "cancelled"}.get(verb, "defined")
    assert (await world.states(task)).count(reached) == 3
    assert await inside(world.pool, order_slices.unfinished) == [task.id]
    turns = 0
    while await inside(world.pool, order_slices.carry_on, task.id):
        turns += 1
    assert turns == 3
    assert (await world.states(task)).count(reached) == 10
    assert await inside(world.pool, order_slices.unfinished) == []
    if verb in ("pause", "kill", "finish"):
        await world.agents()
        await give(world, orders.resume if verb == "pause" else orders.retry, task.id, ANN)
    await world.run_all()
    assert await state(world, task) == "done"


async def test_a_retry_that_has_not_come_to_all_pieces_is_not_taken_for_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await placed(world, events=100, events_per_job=10)
    done = [await world.run_one("A-BATCH") for _ in range(3)]
    assert all(done)
    await give(world, orders.kill, task.id, ANN)
    monkeypatch.setattr(order_slices, "SLICE", 1)
    await give(world, orders.retry, task.id, ANN)
    assert await state(world, task) == "running"
    await world.run_all()
    assert await state(world, task) == "done"


async def test_a_kill_overtakes_what_is_left_of_other_orders(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await placed(world, events=100, events_per_job=10)
    monkeypatch.setattr(order_slices, "SLICE", 3)
    await give(world, task_changes.change, task.id, {"memory_mb": 1250}, ANN)
    await give(world, orders.pause, task.id, ANN)
    await give(world, orders.kill, task.id, ANN)
    assert [row["verb"] for row in await world.fetch("SELECT verb FROM open_order")] == ["kill"]
    await world.agents()
    assert set(await world.states(task)) == {"cancelled"}


async def test_scouts_that_failed_are_tried_again_as_scouts_or_left_behind(world: World) -> None:
    for order, after in ((orders.retry, "scouting"), (orders.resume, "running")):
        task = await placed(world, scouts=2, max_attempts=1, output=f"mc26.{after}.Z.evgen.EVNT.v1")
        for queue in ("A-BATCH", "B-BATCH"):
            while (spec := await world.acquire(queue)) is not None:
                await world.report(queue, "p1", Update(spec.job, "failed", error="no release"))
        await world.agents()
        assert await state(world, task) == "exhausted"
        assert (await give(world, order, task.id, ANN)).changes == {"state": ["exhausted", after]}
        assert await world.value("SELECT bool_and(scout) FROM job WHERE task_id = $1", task.id)
        await world.run_all()
        assert await state(world, task) == ("done" if after == "scouting" else "finished")


async def test_a_merging_task_is_steered_with_its_parent(world: World) -> None:
    merge = {"command": ["Merge_tf.py", "{inputs}", "{output}"], "files_per_job": 2}
    task = await placed(world, merge=merge)
    child = await world.value("SELECT id FROM task WHERE parent_id = $1", task.id)
    paused = await give(world, orders.pause, task.id, ANN)
    assert set(paused.changes) == {"state", f"state of task {child}"}
    await give(world, orders.resume, task.id, ANN)
    await give(world, task_changes.change, task.id, {"priority": 7}, ANN)
    assert await world.value("SELECT array_agg(DISTINCT priority) FROM task") == [7]
    await give(world, orders.kill, task.id, ANN)
    assert await world.value("SELECT array_agg(DISTINCT state) FROM task") == ["aborted"]
    await give(world, orders.retry, task.id, ANN)
    await world.run_all()
    assert await world.value("SELECT array_agg(DISTINCT state) FROM task") == ["done"]
    assert await world.value("SELECT files FROM dataset WHERE id = $1", task.output_id) == 2


async def test_a_retry_with_new_inputs_says_what_it_goes_on_with(world: World) -> None:
    await world.submit(evgen(events=50))
    second = await world.submit(sim())
    await world.run_all()
    assert await state(world, second) == "done"
    with pytest.raises(WrongState, match="nothing has joined"):
        await give(world, orders.retry, second.id, ANN, new_inputs=True)
    assert await entries(world) == []


async def test_work_whose_run_fails_after_its_priority_was_changed_comes_back_with_the_new_one(world: World) -> None:
    task = await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await give(world, task_changes.change, task.id, {"priority": 5}, ANN)
    await world.report("A-BATCH", "p1", Update(spec.job, "failed", error="it broke"))
    assert await world.value("SELECT priority FROM job WHERE state = 'defined'") == 5
