"""Health checks: True, False, or None when whoever could tell does not answer."""

import json
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

Check = Callable[[], bool | None]

TIMEOUT_S = 5.0
SILENCE_S = 15.0
_OPENER = build_opener(ProxyHandler({}))


def ask(url: str, token: Path | None = None, body: Any = None) -> Any:
    """The document at the URL; None if there is none."""
    request = Request(url, method="GET" if body is None else "POST")  # noqa: S310 - our own addresses
    request.add_header("Content-Type", "application/json")
    if body is not None:
        request.data = json.dumps(body).encode()
    try:
        if token is not None:
            request.add_header("Authorization", f"Bearer {token.read_text().strip()}")
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except (OSError, HTTPException, ValueError):  # among them an answer that broke off: the server was killed
        return None


def answers(url: str) -> Check:
    """For servers: the URL answers."""
    return lambda: ask(url) is not None


def agents(server: str) -> Check:
    """The agents leave their sign of life in the database; the server tells how old it is."""

    def check() -> bool | None:
        health = ask(f"{server}/api/health")
        if health is None:
            return None
        seen = health.get("agents_seen_s")
        return seen is not None and seen < SILENCE_S

    return check


def pilot(server: str, name: str, token: Path) -> Check:
    """A pilot is alive as long as the broker hears from it."""

    def check() -> bool | None:
        pilots = ask(f"{server}/api/pilots?limit=1000", token)
        if pilots is None:
            return None
        return any(pilot["name"] == name and pilot["alive"] for pilot in pilots["items"])

    return check


def worker(api: str, pool: str, name: str) -> Check:
    """A Prefect worker reports to the Prefect server."""

    def check() -> bool | None:
        workers = ask(f"{api}/work_pools/{pool}/workers/filter", body={})
        if workers is None:
            return None
        return any(worker["name"] == name and worker["status"] == "ONLINE" for worker in workers)

    return check
