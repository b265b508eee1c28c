"""The pages over the broker's own views: what the templates expect is what the views have."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from prodchain.broker.models import Task
from prodchain.broker.monitor.links import FIELDS
from prodchain.broker.monitor.routes import routes
from prodchain.broker.monitor.source import Views
from prodchain.broker.views import PoolViews
from prodchain.pilot_agent.messages import Update

from ..world import World, evgen, sim
from .production import Production, did

HITS = did("sim", "HITS")


@pytest.fixture
async def pages(world: World) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(openapi_url=None)
    views: Views = PoolViews(world.pool)
    app.include_router(routes(views))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://monitor") as client:
        yield client


@pytest.fixture
async def task(world: World) -> Task:
    """A chain of two steps in the middle of its work: jobs finished, failed, on pilots, and waiting."""
    first = await world.submit(evgen())
    await world.submit(sim())
    await world.agents()
    await world.run_one("B-BATCH")
    failing = await world.acquire("B-BATCH", "p2")
    assert failing is not None
    error = "the payload ended with exit code 65"
    await world.report("B-BATCH", "p2", Update(failing.job, "failed", exit_code=65, error=error))
    await world.acquire("A-BATCH", "p3")
    await world.agents()
    return first


def narrowed(link: str) -> int:
    """By how many fields a list is narrowed: they combine to more pages than anybody would look at."""
    return sum(f"{field}=" in link for field in FIELDS)


def links(page: str) -> set[str]:
    return {address.replace("&amp;", "&") for address in re.findall(r'<a [^>]*href="(/[^"]*)"', page)}


async def test_every_page_that_a_page_links_to_is_there(pages: httpx.AsyncClient, task: Task) -> None:
    seen: set[str] = set()
    ahead = {"/"}
    while ahead:
        page = ahead.pop()
        seen.add(page)
        answer = await pages.get(page)
        assert answer.status_code == 200, f"{page}: {answer.text}"
        ahead |= {link for link in links(answer.text) - seen if narrowed(link) < 2}
    kinds = {re.sub(r"\?.*|/[^/]*[\d:][^/]*|/[AB]$", "/*", page) for page in seen}
    assert {"/", "/tasks/*", "/jobs/*", "/datasets/*", "/sites/*", "/transfers"} <= kinds
    assert {"/errors", "/queues", "/shares", "/journal"} <= kinds
    assert any(page.startswith("/jobs/") and page.endswith("log") for page in seen)


async def test_the_overview_shows_the_state_of_the_chain(pages: httpx.AsyncClient, task: Task) -> None:
    overview = (await pages.get("/")).text
    assert f'id="task-{task.id}"' in overview
    assert "the payload ended with exit code" in overview
    failed = (await pages.get(f"/jobs?task={task.id}&state=failed")).text
    assert "exit code 65" in failed


async def test_the_next_page_of_each_list_is_there(pages: httpx.AsyncClient, task: Task) -> None:
    for page in ("/tasks", "/jobs", "/datasets", "/transfers"):
        answer = await pages.get(f"{page}?limit=1")
        following = re.search(r'rel="next" href="([^"]+)"', answer.text)
        if page != "/transfers":
            assert following, page
        if following:
            assert (await pages.get(following[1].replace("&amp;", "&"))).status_code == 200


async def test_the_made_up_production_has_the_keys_of_the_real_one(
    pages: httpx.AsyncClient, task: Task, world: World
) -> None:
    real, made_up = PoolViews(world.pool), Production()
    job = (await real.jobs(task=task.id))["items"][0]
    dataset = (await real.datasets())["items"][0]
    assert (await made_up.overview()).keys() == (await real.overview()).keys()
    assert made_up.all_tasks[0].keys() == (await real.task(task.id or 0)).keys()
    assert made_up.all_jobs[0].keys() == job.keys()
    assert made_up.all_datasets[0].keys() == (await real.dataset(dataset["did"])).keys()
    assert (await made_up.site("SITE-A")).keys() == (await real.site("A")).keys()
    lineages = [await views.dataset_lineage(each) for views, each in ((real, dataset["did"]), (made_up, HITS))]
    assert lineages[0].keys() == lineages[1].keys()
    assert lineages[0]["datasets"][0].keys() >= lineages[1]["datasets"][0].keys()
    assert (await real.subscription_summary()).keys() == (await made_up.subscription_summary()).keys()
    facets = [await views.dataset_facets() for views in (real, made_up)]
    assert (facets[0].keys(), facets[0]["fields"].keys()) == (facets[1].keys(), facets[1]["fields"].keys())
    task_id, job_id = task.id or 0, job["id"]
    for name, key, theirs in (
        ("task_details", 10_000_001, task_id),
        ("task_why", 10_000_001, task_id),
        ("task_story", 10_000_001, task_id),
        ("task_spans", 10_000_001, task_id),
        ("job_story", 4201, job_id),
        ("job_attempts", 4201, job_id),
        ("site_health", "SITE-A", "A"),
    ):
        ours, found = await getattr(made_up, name)(key), await getattr(real, name)(theirs)
        assert ours.keys() == found.keys(), name
        if "items" in found:
            assert ours["items"][0].keys() == found["items"][0].keys(), name
    assert (await made_up.errors())["items"][0].keys() == (await real.errors())["items"][0].keys()
    assert (await made_up.shares())["items"][0].keys() == (await real.shares())["items"][0].keys()
    assert (await made_up.queue_health())["items"][0].keys() == (await real.queue_health())["items"][0].keys()
    for name in ("queues", "storages", "pilots", "transfers", "subscriptions", "links"):
        theirs, ours = await getattr(real, name)(), await getattr(made_up, name)()
        if theirs["items"]:
            assert ours["items"][0].keys() == theirs["items"][0].keys(), name
