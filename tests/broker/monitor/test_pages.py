"""The pages without a browser: documents, filters, headers, speed."""

import json
import re
import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from prodchain.broker.monitor.assets import FILES

from .production import ERROR, NOW, Production, dataset, did, job

DATASET = did("sim", "HITS")
PAGES = [
    "/",
    "/tasks?state=running",
    "/tasks/10000001?state=failed",
    "/jobs?site=SITE-A",
    "/jobs/4208",
    "/errors",
    "/errors?site=SITE-B&task=10000001",
    "/datasets",
    f"/datasets/{DATASET}",
    "/datasets?step=sim&at=SITE-A-DISK&versions=1",
    "/transfers",
    "/transfers?state=failing",
    "/storages",
    "/sites",
    "/sites/SITE-A",
    "/queues",
    "/shares?days=30",
    "/journal?by=ann",
]


def plain(document: Any) -> Any:
    return json.loads(json.dumps(document, default=lambda value: value.isoformat()))


async def test_the_json_of_a_list_is_exactly_the_view(monitor: httpx.AsyncClient, production: Production) -> None:
    answer = await monitor.get("/jobs?state=failed&json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == plain(await production.jobs(state="failed"))


async def test_the_json_of_the_overview_is_exactly_the_view(
    monitor: httpx.AsyncClient, production: Production
) -> None:
    assert (await monitor.get("/?json")).json() == plain(await production.overview())


async def test_the_json_of_a_job_has_all_that_its_page_shows(
    monitor: httpx.AsyncClient, production: Production
) -> None:
    document = (await monitor.get("/jobs/4208?json")).json()
    assert document == {
        "job": plain(await production.job(4208)),
        "why": {name: plain(value) for name, value in (await production.job_why(4208)).items() if name != "at"},
        "attempts": plain(await production.job_attempts(4208)),
        "story": plain(await production.job_story(4208)),
    }


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_is_a_page_and_a_document(monitor: httpx.AsyncClient, page: str) -> None:
    shown = await monitor.get(page)
    assert shown.status_code == 200, shown.text
    assert shown.headers["content-type"].startswith("text/html")
    link = re.search(r'href="([^"]+)">This page as JSON', shown.text)
    assert link
    document = await monitor.get(link[1].replace("&amp;", "&"))
    assert document.status_code == 200
    assert document.json()


@pytest.mark.parametrize("page", [*PAGES, "/jobs/1"])
async def test_pages_may_load_nothing_but_our_files(monitor: httpx.AsyncClient, page: str) -> None:
    answer = await monitor.get(page)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"<script(?![^>]+src=)|<style|\sstyle=|\son\w+=", answer.text)
    loaded = re.findall(r'(?:<link[^>]+href|src)="([^"]+)"', answer.text)
    assert loaded
    for address in loaded:
        file = await monitor.get(address)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]


async def test_a_task_tells_its_cheapest_change_rank_sizes_errors_share_and_time(monitor: httpx.AsyncClient) -> None:
    page = (await monitor.get("/tasks/10000001")).text
    for words in (
        "Cheapest change, for its owner",
        "prodchain task set 10000001 memory_mb=1000",
        "3 of its own share are before it",
        "5 scouts: memory 980 MB",
        "both at once for 7",
        "tried again, at another queue, without using up an attempt",
        "100 queues fail",
        'id="share-simulation"',
        "the payload needs more",
        "if it goes on like the last 12 that finished",
    ):
        assert words in page, words
    assert page.index('id="share-production"') < page.index('id="share-simulation"')


async def test_queues_that_fail_fold_by_what_they_fail(monitor: httpx.AsyncClient, production: Production) -> None:
    page = (await monitor.get("/tasks/10000001")).text
    assert '<details id="refused-memory_mb"><summary>' in page
    assert page.index("2 of 150 queues pass") < page.index('id="refused-memory_mb"')


async def test_a_throttled_task_says_so_with_the_order_that_is_under_way(
    monitor: httpx.AsyncClient, production: Production
) -> None:
    assert 'id="throttled"' not in (await monitor.get("/tasks/10000001")).text
    production.throttled = "group:higgs has used 500 of 500 core hours: it goes on tomorrow"
    page = (await monitor.get("/tasks/10000001")).text
    assert production.throttled in page
    assert "user:ann ordered kill: its jobs up to number 5000 are through" in page


async def test_the_runs_of_the_same_work_say_why_they_were_made(monitor: httpx.AsyncClient) -> None:
    page = (await monitor.get("/jobs/4208")).text
    assert "rule out-of-memory; attempt 2 of 3 follows; with 1500 MB instead of 1000" in page
    assert 'href="/jobs/4000"' in page


async def test_queues_that_need_a_look_come_first(monitor: httpx.AsyncClient) -> None:
    page = (await monitor.get("/queues")).text
    assert page.index('id="queue-SITE-B-BATCH"') < page.index('id="queue-SITE-A-BATCH"')
    assert "after 2 drains or canaries in vain" in page
    assert 'id="trouble-SITE-B-BATCH"' in (await monitor.get("/")).text


async def test_a_page_that_only_asks_later_is_the_same_document(monitor: httpx.AsyncClient) -> None:
    """The moment of asking, which `why` tells, is no news."""
    for page in ("/tasks/10000001", "/jobs/4208"):
        first = await monitor.get(page)
        again = await monitor.get(page, headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304, page


async def test_filters_reach_the_view_and_empty_ones_do_not(
    monitor: httpx.AsyncClient, production: Production
) -> None:
    await monitor.get("/jobs?task=10000001&state=&queue=SITE-A-BATCH&limit=7&after=4230")
    assert production.asked == [("jobs", {"task": 10000001, "queue": "SITE-A-BATCH", "limit": 7, "after": "4230"})]


async def test_a_list_goes_on_where_the_page_ended_and_keeps_its_filter(monitor: httpx.AsyncClient) -> None:
    first = await monitor.get("/jobs?state=failed&limit=2")
    following = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert following
    address = following[1].replace("&amp;", "&")
    assert address == "/jobs?state=failed&limit=2&after=4226"
    second = await monitor.get(address)
    assert "4218" in second.text and "4226" not in second.text.partition("<tbody>")[2].partition("</tbody>")[0]
    assert 'href="/jobs?state=failed&amp;limit=2"' in second.text


async def test_a_page_that_did_not_change_is_not_sent_again(
    monitor: httpx.AsyncClient, production: Production
) -> None:
    first = await monitor.get("/jobs")
    again = await monitor.get("/jobs", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    production.all_jobs[0]["state"] = "finished"
    changed = await monitor.get("/jobs", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


async def test_the_command_of_a_page_shows_the_same_selection(monitor: httpx.AsyncClient) -> None:
    page = await monitor.get("/jobs", params={"state": "failed", "queue": "A B; rm -rf /"})
    assert "prodchain job ls --state failed --queue &#39;A B; rm -rf /&#39;" in page.text


async def test_facets_have_counts_and_links_that_combine(monitor: httpx.AsyncClient) -> None:
    page = (await monitor.get("/datasets?step=sim&at=SITE-A-DISK")).text.replace("&amp;", "&")
    assert 'href="/datasets?step=sim&at=SITE-A-DISK&format=HITS"' in page  # narrower
    assert 'aria-current="true" href="/datasets?at=SITE-A-DISK"' in page  # wider again
    assert "prodchain ls --step sim --at SITE-A-DISK" in page
    everything = (await monitor.get("/datasets")).text
    assert re.search(r'step=evgen">evgen <span class="quiet">1</span>', everything)


async def test_all_searches_of_the_page_reach_the_view(monitor: httpx.AsyncClient, production: Production) -> None:
    asked = "pattern=*&kind=user&number=7&owner=ann&not_at=B&complete_at=A&since=2026-11-01&deleted=1&sort=-bytes"
    await monitor.get(f"/datasets?{asked}")
    filters = {
        "kind": "user",
        "number": "7",
        "owner": "ann",
        "not_at": "B",
        "complete_at": "A",
        "since": "2026-11-01",
    }
    assert production.asked[0] == ("datasets", filters | {"deleted": True, "sort": "-bytes", "limit": 100})


async def test_a_container_shows_what_is_in_it_and_a_deleted_dataset_how_it_comes_back(
    monitor: httpx.AsyncClient, production: Production
) -> None:
    production.all_datasets[0] |= {"kind": "container"}
    page = (await monitor.get(f"/datasets/{production.all_datasets[0]['did']}")).text
    assert "Content" in page and production.all_datasets[1]["did"] in page
    production.all_datasets[0] |= {"deleted_at": NOW, "purge_at": NOW, "versions": [1, 2]}
    page = (await monitor.get(f"/datasets/{production.all_datasets[0]['did']}")).text
    assert "prodchain dataset undelete" in page
    assert 'v1@2">2</a>' in page


async def test_a_dataset_shows_its_wishes_lineage_story_and_how_to_read_it(monitor: httpx.AsyncClient) -> None:
    page = (await monitor.get(f"/datasets/{DATASET}")).text
    for words in ("1 files tried in vain: " + ERROR, "evgen.EVNT.v1", "let go at 2027-01-01", "import uproot"):
        assert words in page


async def test_transfers_are_summed_up_by_kind_and_failing_files_told_in_words(monitor: httpx.AsyncClient) -> None:
    page = (await monitor.get("/transfers")).text
    for kind in ("dispatch", "destination", "other"):
        assert f'id="kind-{kind}"' in page
    assert f"evgen.EVNT.v1._000002.root.1 to SITE-B-DISK: {ERROR}" in page


async def test_storages_show_used_free_and_moving(monitor: httpx.AsyncClient) -> None:
    page = (await monitor.get("/storages")).text
    assert "not declared" in page
    assert 'href="/transfers?at=SITE-A-DISK&amp;state=failing"' in page
    assert "used at SITE-A-DISK: 88" in page


async def test_a_log_says_where_it_goes_on_in_characters(monitor: httpx.AsyncClient, production: Production) -> None:
    production.log = "α𝛽γ\n"
    answer = await monitor.get("/jobs/4208/log?start=1")
    assert answer.text == "𝛽γ\n"
    assert answer.headers["log-next"] == "4"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_dataset_with_an_awkward_name_has_a_page(monitor: httpx.AsyncClient, production: Production) -> None:
    name = "user.eve:a/b c?d=e&f#g%20<i>"
    production.all_datasets = [dataset("sim", "HITS", did=name, name=name.partition(":")[2])]
    listing = await monitor.get("/datasets")
    link = re.search(r'class="did" href="([^"]+)"', listing.text)
    assert link
    page = await monitor.get(link[1])
    assert page.status_code == 200
    assert "<i>" not in page.text and "&lt;i&gt;" in page.text


@pytest.mark.parametrize(
    ("typed", "page"),
    [
        ("10000001", "/tasks/10000001"),
        (" 4208 ", "/jobs/4208"),
        ("Zmumu", "/datasets?pattern=%2AZmumu%2A"),
        ("mc26*.AOD.*", "/datasets?pattern=mc26%2A.AOD.%2A"),
        ("", "/datasets"),
        ("//evil.example", "/datasets?pattern=%2A%2F%2Fevil.example%2A"),
    ],
)
async def test_the_search_box_takes_ids_and_names(monitor: httpx.AsyncClient, typed: str, page: str) -> None:
    answer = await monitor.get("/search?q=" + quote(typed))
    assert (answer.status_code, answer.headers["location"]) == (303, page)


async def test_a_system_where_nothing_has_happened_yet_says_what_to_do(
    monitor: httpx.AsyncClient, production: Production
) -> None:
    production.all_tasks, production.all_jobs, production.all_datasets = [], [], []
    assert "prodchain demo" in (await monitor.get("/")).text
    for page, words in {"/tasks": "No task matches", "/jobs": "No job matches", "/datasets": "No dataset"}.items():
        assert words in (await monitor.get(page)).text


async def test_values_that_are_not_there_are_drawn_too(monitor: httpx.AsyncClient, production: Production) -> None:
    production.all_jobs = [job(1, "defined", pilot=None, inputs=[], outputs=[], command=[])]
    page = await monitor.get("/jobs/4201")
    assert "No queue has been chosen yet" in page.text
    production.all_datasets = [
        dataset("sim", "HITS", files=0, bytes=0, events=0, replicas=[], made_by=[], used_by=[])
        | {"step": None, "format": None}
    ]
    assert "No copy anywhere yet" in (await monitor.get(f"/datasets/{DATASET}")).text
    assert (await monitor.get("/datasets")).status_code == 200


async def test_ordinary_pages_take_less_than_50_ms(monitor: httpx.AsyncClient, production: Production) -> None:
    production.all_jobs = [job(n, "finished") for n in range(100, 0, -1)]
    for page in PAGES:
        await monitor.get(page)  # templates are compiled once
        times = []
        for _ in range(5):
            began = time.process_time()  # what others do on this machine does not count
            await monitor.get(page)
            times.append(time.process_time() - began)
        assert min(times) < 0.05, page


async def test_files_of_the_pages_are_small_and_have_types(monitor: httpx.AsyncClient) -> None:
    types = {"live.js": "text/javascript", "logo.svg": "image/svg+xml", "monitor.css": "text/css"}
    assert set(FILES) == set(types)
    assert sum(map(len, FILES.values())) < 40_000
    for name, kind in types.items():
        assert (await monitor.get(f"/static/{name}")).headers["content-type"].startswith(kind)
    assert (await monitor.get("/static/..%2Fpages.py")).status_code == 404
    assert (await monitor.get("/favicon.ico")).headers["content-type"] == "image/svg+xml"
