"""Errors as pages: readable, with what to do, and with names near the one asked for."""

from typing import Any

import httpx
import pytest

from prodchain.broker.errors import Unauthorized

from .production import Production, did


async def test_an_unknown_dataset_names_its_near_misses_as_links(monitor: httpx.AsyncClient) -> None:
    page = await monitor.get("/datasets/mc26_13p6TeV:mc26_13p6TeV.700001.Zmum.sim.HITS.v1")
    assert page.status_code == 404
    assert f'href="/datasets/{did("sim", "HITS")}"' in page.text
    assert "<code>prodchain ls</code> takes patterns" in page.text


async def test_an_unknown_site_names_its_near_misses(monitor: httpx.AsyncClient) -> None:
    page = await monitor.get("/sites/SITEA")
    assert page.status_code == 404
    assert 'href="/sites/SITE-A"' in page.text


@pytest.mark.parametrize("path", ["/job", "/dataset", "/taks"])
async def test_a_mistyped_address_names_the_page_that_was_meant(monitor: httpx.AsyncClient, path: str) -> None:
    page = await monitor.get(path)
    assert page.status_code == 404
    assert f"There is no page {path}" in page.text
    assert "Did you mean" in page.text


@pytest.mark.parametrize("path", ["/jobs/1", "/tasks/1", "/jobs/1/log", "/jobs/abc", "/jobs/99999999999999999999"])
async def test_unknown_ids_are_not_found(monitor: httpx.AsyncClient, path: str) -> None:
    page = await monitor.get(path)
    assert page.status_code == 404
    assert "Not found" in page.text
    assert page.headers["content-type"].startswith("text/html")


async def test_an_error_of_a_document_is_a_problem_document(monitor: httpx.AsyncClient) -> None:
    answer = await monitor.get("/jobs/1?json")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {key: problem[key] for key in ("status", "code", "object", "title")} == {
        "status": 404,
        "code": "not-found",
        "object": "job 1",
        "title": "Not found",
    }


async def test_a_filter_that_cannot_be_is_refused_rather_than_ignored(monitor: httpx.AsyncClient) -> None:
    assert (await monitor.get("/jobs?task=abc")).status_code == 422


async def test_a_database_that_is_away_is_told_as_such(
    monitor: httpx.AsyncClient, production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(production, "overview", away)
    page = await monitor.get("/")
    assert page.status_code == 503
    assert "the database does not answer now" in page.text


async def test_a_mistake_of_ours_shows_no_traceback_but_is_in_the_log(
    monitor: httpx.AsyncClient,
    production: Production,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken() -> Any:
        raise KeyError("secret")

    monkeypatch.setattr(production, "sites", broken)
    page = await monitor.get("/sites")
    assert page.status_code == 500
    assert "KeyError" in page.text and "secret" not in page.text and "Traceback" not in page.text
    assert "page /sites failed" in caplog.text


async def test_a_reader_who_is_not_let_in_gets_a_page_that_says_so(
    monitor: httpx.AsyncClient, production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed() -> Any:
        raise Unauthorized("no token", object="token", hint="ask an admin for a token of kind `user`")

    monkeypatch.setattr(production, "overview", closed)
    page = await monitor.get("/")
    assert page.status_code == 401
    assert "Not logged in" in page.text and "<code>user</code>" in page.text
