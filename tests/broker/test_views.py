"""What API, monitor and CLI show: the documents' shapes, their numbers, and lists page by page."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from prodchain.broker import (
    dataset_views,
    error_views,
    job_views,
    overview_views,
    site_views,
    storage_views,
    task_views,
    transfer_views,
)
from prodchain.broker.api import documents
from prodchain.broker.errors import BadRequest, NotFound
from prodchain.broker.views import PoolViews
from prodchain.catalog import datasets, links
from prodchain.catalog.names import parse_did
from prodchain.catalog.query import Query
from prodchain.pilot_agent.messages import Update

from .world import World, evgen, inside, sim

EVGEN = parse_did("mc26.700001.Z.evgen.EVNT.v1")


async def with_work(world: World) -> tuple[int, int]:
    """Two tasks: of the first one job done at home, one on its way there, one failed, one waits."""
    first = await world.submit(evgen(max_attempts=1))
    second = await world.submit(sim())
    await world.agents()
    await world.run_one("A-BATCH")
    await world.run_one("B-BATCH", "p2")
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    log = Update(spec.job, "running", log="begin\n")
    await world.report("A-BATCH", "p1", log)
    failed = Update(spec.job, "failed", log_offset=6, log="end\n", exit_code=3, error="cannot open /data/f123.root")
    await world.report("A-BATCH", "p1", failed)
    await world.agents()
    assert first.id is not None
    assert second.id is not None
    return first.id, second.id


def held_against(shape: Any, document: Any) -> None:
    TypeAdapter(shape).validate_python(document, strict=True)


async def test_every_view_has_the_shape_that_the_api_describes(world: World) -> None:
    await with_work(world)
    evgen_id = await world.value("SELECT id FROM dataset WHERE name = $1", EVGEN.name)
    await inside(world.pool, datasets.set_lifetime, evgen_id, None, "ann")
    views = PoolViews(world.pool)
    one = (await views.jobs())["items"][0]
    for document, shape in (
        (await views.tasks(), documents.Page[documents.TaskView]),
        (await views.task(one["task"]), documents.TaskView),
        (await views.jobs(), documents.Page[documents.JobView]),
        (await views.job(one["id"]), documents.JobView),
        (await views.datasets(bookkeeping=True), documents.Page[documents.DatasetView]),
        (await views.dataset(str(EVGEN)), documents.OneDatasetView),
        (await views.dataset_files(str(EVGEN)), documents.Page[documents.FileView]),
        (await views.sites(), documents.Page[documents.SiteView]),
        (await views.site("A"), documents.SiteView),
        (await views.queues(), documents.Page[documents.QueueView]),
        (await views.storages(), documents.Page[documents.StorageView]),
        (await views.dataset_story(str(EVGEN)), documents.Page[documents.CatalogEventView]),
        (await views.pilots(), documents.Page[documents.PilotView]),
        (await views.transfers(), documents.Page[documents.TransferView]),
        (await views.overview(), documents.OverviewView),
    ):
        held_against(shape, document)
        assert document.get("items", [1]), f"{shape} was not tried with an item"


async def test_a_task_counts_its_jobs_and_events(world: World) -> None:
    first, second = await with_work(world)
    view = await inside(world.pool, task_views.task, first)
    assert sum(view["jobs"].values()) == 4
    assert (view["jobs"]["finished"], view["jobs"]["transferring"], view["jobs"]["failed"]) == (1, 1, 1)
    assert (view["events_done"], view["events_total"], view["numbers"]) == (25, 100, 4)
    assert (view["input"], view["output"], view["destination"]) == (None, str(EVGEN), "A-DISK")

    other = await inside(world.pool, task_views.task, second)
    assert (other["input"], other["events_done"], other["events_total"]) == (str(EVGEN), 0, 50)


async def test_tasks_can_be_filtered(world: World) -> None:
    first, second = await with_work(world)
    for filters, expected in (
        ({}, [second, first]),
        ({"step": "sim"}, [second]),
        ({"state": "done"}, []),
        ({"run": "other"}, []),
    ):
        found, _ = await inside_with(world, task_views.tasks, **filters)
        assert [task["id"] for task in found] == expected


async def inside_with(world: World, view: Callable[..., Awaitable[Any]], *keys: Any, **filters: Any) -> Any:
    async with world.pool.acquire() as conn:
        return await view(conn, *keys, **filters)


@pytest.mark.parametrize(
    "view",
    [
        task_views.tasks,
        job_views.jobs,
        dataset_views.datasets,
        site_views.sites,
        site_views.queues,
        storage_views.storages,
        site_views.pilots,
        transfer_views.transfers,
    ],
)
async def test_a_list_read_page_by_page_is_the_whole_list(view: Callable[..., Awaitable[Any]], world: World) -> None:
    await with_work(world)
    extra = {"wanted": Query(bookkeeping=True)} if view is dataset_views.datasets else {}
    whole, end = await inside_with(world, view, limit=1000, **extra)
    assert end is None
    pages: list[Any] = []
    after: Any = None
    while True:
        items, after = await inside_with(world, view, limit=1, after=after, **extra)
        pages += items
        if after is None:
            break
    for each in (*pages, *whole):
        each.pop("as_of", None)  # a minute may end between the pages
    assert pages == whole
    assert len(whole) > 0


async def test_stories_are_paged_in_order(world: World) -> None:
    first, _ = await with_work(world)
    whole, _ = await inside_with(world, task_views.task_story, first)
    assert whole[0]["state"] == "registered"
    head, after = await inside_with(world, task_views.task_story, first, limit=3)
    tail, end = await inside_with(world, task_views.task_story, first, limit=1000, after=after)
    assert head + tail == whole
    assert end is None


async def test_a_job_shows_what_it_runs_and_why_there(world: World) -> None:
    first, second = await with_work(world)
    [job], _ = await inside_with(world, job_views.jobs, task=second, queue="A-BATCH")
    assert job["inputs"] == ["mc26.700001.Z.evgen.EVNT.v1._000001.root.1"]
    assert job["outputs"] == ["mc26.700001.Z.simul.HITS.v1._000001.root.1"]
    assert job["command"][0] == "Sim_tf.py"
    assert "{" not in " ".join(job["command"])
    assert job["assignment"]["queue"] == "A-BATCH"
    assert {verdict["queue"] for verdict in job["assignment"]["verdicts"]} == {"A-BATCH", "B-BATCH"}

    [failed], _ = await inside_with(world, job_views.jobs, task=first, state="failed")
    assert (failed["exit_code"], failed["error"]) == (3, "cannot open /data/f123.root")
    at_b, _ = await inside_with(world, job_views.jobs, site="B")
    assert {job["queue"] for job in at_b} == {"B-BATCH"}


async def test_a_job_without_a_queue_shows_the_template_of_its_command(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'offline'")
    await world.submit(evgen())
    await world.agents()
    [job, *_], _ = await inside_with(world, job_views.jobs)
    assert (job["state"], job["queue"], job["outputs"]) == ("defined", None, [])
    assert "--maxEvents={events}" in job["command"]


async def test_a_log_can_be_read_from_any_character_on(world: World) -> None:
    await with_work(world)
    [failed], _ = await inside_with(world, job_views.jobs, state="failed")
    for start, expected in ((0, "begin\nend\n"), (3, "in\nend\n"), (6, "end\n"), (8, "d\n"), (10, ""), (99, "")):
        pieces = [piece async for piece in job_views.log_pieces(world.pool, failed["id"], start)]
        assert "".join(pieces) == expected
    await world.pool.execute(
        "INSERT INTO job_log VALUES ($1, 4, 'n' || chr(10) || 'end' || chr(10) || 'more')", failed["id"]
    )
    assert await PoolViews(world.pool).job_log(failed["id"]) == "begin\nend\nmore"


async def test_datasets_show_replicas_and_the_tasks_around_them(world: World) -> None:
    first, second = await with_work(world)
    view = await inside_with(world, dataset_views.dataset, str(EVGEN))
    assert (view["made_by"], view["used_by"], view["files"], view["state"]) == ([first], [second], 2, "open")
    assert {replica["storage"]: replica["files"] for replica in view["replicas"]} == {"A-DISK": 1, "B-DISK": 1}
    files, _ = await inside_with(world, dataset_views.files, str(EVGEN))
    assert [len(file["replicas"]) for file in files] == [1, 1]
    assert files[0]["replicas"][0]["url"].endswith(files[0]["name"])


async def test_datasets_are_found_by_pattern_kind_and_fields(world: World) -> None:
    await with_work(world)
    views = PoolViews(world.pool)

    async def names(**filters: Any) -> list[str]:
        return [dataset["name"] for dataset in (await views.datasets(**filters))["items"]]

    assert await names() == [EVGEN.name, "mc26.700001.Z.simul.HITS.v1"]
    assert await names(pattern="*HITS*") == ["mc26.700001.Z.simul.HITS.v1"]
    assert await names(step="evgen") == [EVGEN.name]
    assert await names(format="HITS") == ["mc26.700001.Z.simul.HITS.v1"]
    assert await names(kind="sub") == [f"{EVGEN.name}_sub.B-DISK"]
    with pytest.raises(BadRequest):
        await names(kind="nonsense")


async def test_sites_count_jobs_and_storages_count_each_file_once(world: World) -> None:
    await with_work(world)
    site = await inside_with(world, site_views.site, "B")
    assert (site["queues"], site["storages"], site["jobs"]["transferring"]) == (["B-BATCH"], ["B-DISK"], 1)
    storages, _ = await inside_with(world, storage_views.storages)
    assert {view["name"]: view["files"] for view in storages} == {"A-DISK": 1, "B-DISK": 1}
    queues, _ = await inside_with(world, site_views.queues)
    assert {view["name"]: view["pilots"] for view in queues} == {"A-BATCH": 1, "B-BATCH": 1}
    with pytest.raises(NotFound):
        await inside_with(world, site_views.site, "C")


async def test_a_silent_pilot_is_not_alive(world: World) -> None:
    await with_work(world)
    await world.pool.execute("UPDATE pilot SET last_seen = now() - interval '10 min' WHERE name = 'p2'")
    pilots, _ = await inside_with(world, site_views.pilots)
    assert [(pilot["name"], pilot["alive"]) for pilot in pilots] == [("p1", True), ("p2", False)]
    overview = await inside_with(world, overview_views.overview)
    assert [pilot["name"] for pilot in overview["pilots"]] == ["p1"]


async def test_transfers_are_queued_active_and_done(world: World) -> None:
    await with_work(world)
    [transfer], _ = await inside_with(world, transfer_views.transfers)
    assert (transfer["state"], transfer["destination"]) == ("queued", "A-DISK")
    assert transfer["next_try"] is None
    await world.pool.execute("UPDATE transfer SET phase = 'waiting', not_before = now() + interval '1 min'")
    [transfer], _ = await inside_with(world, transfer_views.transfers)
    assert transfer["next_try"] is not None
    await world.pool.execute(
        "UPDATE transfer SET phase = 'active', lease_until = now() + interval '1 min', error = 'no route'"
    )
    summary = await inside_with(world, transfer_views.transfer_summary)
    assert (summary["queued"], summary["active"], summary["failing"], summary["done"]) == (0, 1, 1, 0)
    await world.move()
    ids = {row["name"]: row["id"] for row in await world.fetch("SELECT id, name FROM storage")}
    link = (ids["B-DISK"], ids["A-DISK"])
    await inside(world.pool, links.add, link, links.LinkFacts(files=1, bytes=42, seconds=1.0))
    summary = await inside_with(world, transfer_views.transfer_summary)
    assert (summary["active"], summary["failing"], summary["done"], summary["bytes_done"]) == (0, 0, 1, 42)
    assert summary["recent"][0]["state"] == "done"


async def test_like_errors_are_shown_as_one(world: World) -> None:
    await with_work(world)
    spec = await world.acquire("A-BATCH", "p3")
    assert spec is not None
    await world.report("A-BATCH", "p3", Update(spec.job, "failed", error="cannot open /data/f456.root"))
    errors = (await inside_with(world, error_views.errors))["items"]
    assert [(error["message"], error["jobs"], error["example_job"]) for error in errors] == [
        ("cannot open PATH", 2, spec.job)
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("payload ended with 139 after 12.5 s", "payload ended with N after N s"),
        ("no file at file:///data/ab/cd/x.root", "no file at URL"),
        ("adler32 0a1b2c3d, not 11223344", "adlerN ID, not ID"),
        ("job 5 of mc26.700001.Z.evgen.EVNT.v1._000001.root.1 lost", "job N of NAME lost"),
        ("guid 01234567-89ab-cdef-0123-456789abcdef", "guid ID"),
    ],
)
def test_errors_are_normalised(message: str, expected: str) -> None:
    assert job_views.normalised(message) == expected


async def test_the_overview_knows_when_the_agents_were_seen(world: World) -> None:
    assert (await inside_with(world, overview_views.overview))["agents_seen_s"] is None
    await world.pool.execute(
        "INSERT INTO agent VALUES ('move', now() - interval '50 s'), ('place', now() - interval '5 s')"
    )
    seen = (await inside_with(world, overview_views.overview))["agents_seen_s"]
    assert 5 <= seen < 10


async def test_what_does_not_exist_is_named(world: World) -> None:
    views = PoolViews(world.pool)
    for wanted in (views.task(5), views.task_story(5), views.job(5), views.job_story(5), views.job_log(5)):
        with pytest.raises(NotFound) as caught:
            await wanted
        assert "5" in caught.value.object


async def test_a_mark_that_no_page_gave_is_refused(world: World) -> None:
    views = PoolViews(world.pool)
    for listing in (views.tasks, views.pilots, views.transfers):
        for mark in ("nonsense", "2026-01-01T00:00:00~a", "2026-01-01T00:00:00+00:00", "-1"):
            with pytest.raises(BadRequest):
                await listing(after=mark)
