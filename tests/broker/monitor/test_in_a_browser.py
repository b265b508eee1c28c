"""The pages in Chromium: drawn, live, linkable, offline, and quiet in the console."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prodchain.broker.monitor.formats import distance

from .production import Production, did, job

pytestmark = pytest.mark.browser

LIVE_S = 4.0
"""Pages change within about 2 s; the rest is for a busy machine."""
DATASET = did("sim", "HITS")
PAGES = {
    "overview": ("/", "evgen"),
    "tasks": ("/tasks?state=running", "reco"),
    "task": ("/tasks/10000001?state=failed", "Why it is not further"),
    "jobs": ("/jobs?site=SITE-A", "SITE-A-BATCH-1"),
    "job": ("/jobs/4208", "all inputs are there"),
    "errors": ("/errors?site=SITE-B", "out-of-memory"),
    "datasets": ("/datasets?pattern=mc26*", "Zmumu.sim.HITS.v1"),
    "facets": ("/datasets?step=sim", "HITS"),
    "dataset": (f"/datasets/{DATASET}", "uproot.open"),
    "transfers": ("/transfers", "No space left"),
    "storages": ("/storages", "not declared"),
    "sites": ("/sites", "where results end up"),
    "site": ("/sites/SITE-A", "file:///data/SITE-A"),
    "queues": ("/queues", "9 of the last 10 runs failed"),
    "shares": ("/shares", "reconstruction"),
    "journal": ("/journal?by=ann", "it fails everywhere"),
    "not-found": ("/datasets/mc26_13p6TeV.700001.Zmum.sim.HITS.v1", "Did you mean"),
}


def text(browser: Any, selector: str = "main") -> str:
    found: str = browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
    return found


def wait_for(true: Callable[[], object], seconds: float = LIVE_S) -> float:
    """Seconds until it was true."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began


def requested(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_drawn_without_errors_and_asks_no_other_server(
    browser: Any, address: str, screenshots: Path, name: str, scheme: str
) -> None:
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    browser.set_window_size(1440, 700)
    page, expected = PAGES[name]
    browser.get(address + page)
    wait_for(lambda: expected in text(browser))
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.set_window_size(1440, min(max(height + 140, 700), 2400))
    browser.save_screenshot(str(screenshots / f"{name}-{scheme}.png"))
    wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"the page is {wide} px wider than its window"
    noise = [entry["message"] for entry in browser.get_log("browser")]
    assert noise == [] or (name == "not-found" and len(noise) == 1)  # Chromium notes the 404 itself
    urls = requested(browser)
    assert urls
    assert [url for url in urls if not url.startswith((address, "about:", "data:"))] == []


def test_numbers_change_without_a_reload(browser: Any, address: str, production: Production) -> None:
    browser.get(f"{address}/tasks/10000001")
    browser.execute_script("window.same = true")
    assert "12 finished" in text(browser, ".panel")
    production.all_tasks[2]["jobs"] = {"finished": 17}
    wait_for(lambda: "17 finished" in text(browser, ".panel"))
    assert "running" not in text(browser, ".panel")
    assert browser.execute_script("return window.same")


def test_new_rows_appear_and_the_focus_stays_where_it_was(browser: Any, address: str, production: Production) -> None:
    browser.get(f"{address}/jobs")
    browser.execute_script(
        "document.querySelector('#job-4240 a').focus(); document.querySelector('#search').value = 'x'"
    )
    production.all_jobs.insert(0, job(41, "running"))
    wait_for(lambda: "4241" in text(browser, "tbody tr:first-child"))
    assert browser.execute_script("return document.activeElement.closest('tr').id") == "job-4240"
    assert browser.execute_script("return document.querySelector('#search').value") == "x"
    ids = browser.execute_script("return [...document.querySelectorAll('tbody tr')].map(row => row.id)")
    assert ids == [f"job-{number}" for number in range(4241, 4200, -1)]


def test_a_log_grows_while_the_job_runs(browser: Any, address: str, production: Production) -> None:
    production.log = "α first line\n"  # counted in characters, of which α is one and 𝛽 too
    browser.get(f"{address}/jobs/4208")
    wait_for(lambda: text(browser, "#log") == production.log)
    production.log += "𝛽 second line\n"
    wait_for(lambda: text(browser, "#log") == production.log)
    production.log += "third line\n"
    wait_for(lambda: text(browser, "#log") == production.log)


def test_a_filter_is_in_the_address_and_survives_a_reload(browser: Any, address: str) -> None:
    browser.get(f"{address}/jobs")
    browser.execute_script(
        "const field = document.querySelector('select[name=state]'); field.value = 'failed';"
        "field.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    wait_for(lambda: browser.current_url == f"{address}/jobs?state=failed")
    for _ in range(2):
        rows = browser.execute_script("return [...document.querySelectorAll('tbody .badge')].map(b => b.textContent)")
        assert rows and all(row.endswith("failed") for row in rows)
        assert browser.execute_script("return document.querySelector('select[name=state]').value") == "failed"
        browser.refresh()


def test_the_bar_of_pages_is_one_line_in_a_window_of_1280_px(browser: Any, address: str) -> None:
    browser.set_window_size(1280, 700)
    browser.get(address)
    tops = browser.execute_script(
        "return [...document.querySelectorAll('.top nav a')].map(link => link.getBoundingClientRect().top)"
    )
    bar, search = browser.execute_script(
        "return ['.top', '.search'].map(part => document.querySelector(part).getBoundingClientRect().bottom)"
    )
    assert len(tops) > 8 and len(set(tops)) == 1
    assert tops[0] < search < bar < tops[0] + 60


def test_the_search_box_is_one_key_away_and_finds_a_job(browser: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(address)
    browser.switch_to.active_element.send_keys("/")
    box = browser.switch_to.active_element
    assert box.get_attribute("id") == "search"
    box.send_keys("4208", Keys.ENTER)
    wait_for(lambda: browser.current_url == f"{address}/jobs/4208")


def test_hostile_names_logs_and_errors_run_nothing(browser: Any, address: str, production: Production) -> None:
    attack = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>\"'><b>"
    production.all_jobs[0] |= {"error": attack, "reason": attack, "pilot": attack, "command": [attack]}
    production.all_datasets[0] |= {"did": f"user.eve:{attack}", "name": attack, "owner": attack}
    production.all_tasks[0] |= {"output": f"user.eve:{attack}", "run": attack, "reason": attack, "step": attack}
    production.log = attack
    for page in ("/", "/jobs", "/jobs/4240", "/tasks", "/tasks/10000003", "/datasets", f"/tasks?run={attack}"):
        browser.get(address + page)
        wait_for(lambda: "<img src=x" in browser.execute_script("return document.body.textContent"))
        time.sleep(0.2)
        assert browser.execute_script("return window.hit ?? null") is None
        assert browser.execute_script("return document.querySelectorAll('main script, main img, main b').length") == 0
    browser.execute_script("document.querySelector('tbody .did').click()")
    wait_for(lambda: "/datasets/" in browser.current_url)
    assert attack in text(browser, "h1")
    assert browser.get_log("browser") == []  # not even something for the content security policy to stop


def test_a_lost_server_is_told_and_the_page_stays(
    browser: Any, address: str, production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.get(f"{address}/jobs")

    async def broken(**filters: Any) -> Any:
        raise ConnectionRefusedError("the database is away")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(production, "jobs", broken)
        wait_for(lambda: "503" in text(browser, "#connection"))
        assert "4240" in text(browser)
    wait_for(lambda: text(browser, "#connection") == "")


def test_an_error_page_gives_way_to_the_page_when_the_database_is_back(
    browser: Any, address: str, production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> Any:
        raise ConnectionRefusedError("the database is away")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(production, "sites", broken)
        browser.get(f"{address}/sites")
        wait_for(lambda: "does not answer now" in text(browser))
    wait_for(lambda: "where results end up" in text(browser))


def test_ages_read_the_same_before_and_after_the_script_keeps_them_going(browser: Any, address: str) -> None:
    browser.get(f"{address}/sites")
    now = datetime.now(UTC)
    for seconds in (5, 100, 4000, 9000, 90_000, 200_000, -600):
        stamp = (now - timedelta(seconds=seconds)).isoformat()
        script = "return distance(Math.round((Date.parse(arguments[0]) - Date.parse(arguments[1])) / 1000))"
        assert browser.execute_script(script, now.isoformat(), stamp) == distance(seconds)
