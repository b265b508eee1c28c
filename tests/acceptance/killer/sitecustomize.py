"""Kills the process that it is loaded into, at a named point of the code, once.

Python loads a module of this name at its start, from PYTHONPATH. A test writes the name of a point into the file
``armed`` of KILLER_FOLDER; the first process that reaches the point renames the file to ``fired`` and ends itself
with SIGKILL. No product code knows of this.
"""

import functools
import importlib.abc
import importlib.machinery
import inspect
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(os.environ.get("KILLER_FOLDER", "/nonexistent"))

SEND = ("uvicorn.protocols.http.httptools_impl", "RequestResponseCycle.send")
POINTS: dict[str, tuple[str, str, str]] = {
    "server: submission committed, answer not sent": (*SEND, "POST /api/tasks"),
    "server: job given to a pilot, answer not sent": (*SEND, "POST /api/pilot/acquire"),
    "server: outputs registered, report not committed": ("prodchain.broker.reports", "_finish", "after"),
    "server: report committed, answer not sent": (*SEND, "POST /api/pilot/update"),
    "agents: jobs defined, generation not committed": ("prodchain.broker.generation", "_define", "after"),
    "agents: dispatch dataset made, placement not committed": ("prodchain.broker.placement", "_dispatch", "after"),
    "agents: file copied, arrival not recorded": ("prodchain.catalog.mover", "attempt", "after"),
    "agents: task complete, end not committed": ("prodchain.broker.watching", "_close", "after"),
    "pilot: job received, inputs not fetched": ("prodchain.pilot_agent.storage", "stage_in", "before"),
    "pilot: payload runs": ("prodchain.pilot_agent.warden", "Warden.watch", "after"),
    "pilot: outputs stored, not reported": ("prodchain.pilot_agent.storage", "stage_out", "after"),
    "flow: about to submit": ("prodchain.broker.client", "Client.submit_task", "before"),
    "flow: submitted, not yet followed": ("prodchain.broker.client", "Client.submit_task", "after"),
}
"""Point -> module, function, when; for requests: which one (killed between the commit and the answer)."""
TELLING = {
    "POST /api/tasks": b'"numbers"',
    "POST /api/pilot/acquire": b'"command"',
    "POST /api/pilot/update": b"registered",
}
"""What the answer must hold for the request to be the one that is meant: a task; a job; news of a registration."""


def fire(point: str) -> None:
    try:
        armed = FOLDER / "armed"
        if armed.read_text() != point:
            return
        armed.rename(FOLDER / "fired")
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def wrapped(function: Callable[..., Any], point: str, when: str) -> Callable[..., Any]:
    def before(args: tuple[Any, ...]) -> None:
        if when == "before" or (when.startswith("POST") and is_meant(when, *args)):
            fire(point)

    def after(result: Any) -> None:
        if when == "after" and (point != DISPATCH or any(dataset for _, dataset in result)):
            fire(point)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            before(args)
            result = await function(*args, **kwargs)
            after(result)
            return result

        return call_async

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        before(args)
        result = function(*args, **kwargs)
        after(result)
        return result

    return call


DISPATCH = "agents: dispatch dataset made, placement not committed"


def is_meant(when: str, cycle: Any, message: Any) -> bool:
    """Whether this is the body of the answer to that request, about to leave: what it tells is committed."""
    request = f"{cycle.scope['method']} {cycle.scope['path']}"
    body = message.get("body", b"")
    return request == when and bool(body) and TELLING[when] in body


class Loader(importlib.abc.Loader):
    """Loads the module as its own loader does, then wraps the functions that are points."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        self.inner.exec_module(module)
        for point, (name, path, when) in POINTS.items():
            if name == module.__name__:
                owner: Any = module
                *parents, attribute = path.split(".")
                for parent in parents:
                    owner = getattr(owner, parent)
                setattr(owner, attribute, wrapped(getattr(owner, attribute), point, when))


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in MODULES:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                spec.loader = Loader(spec.loader)
                return spec
        return None


MODULES = {name for name, _, _ in POINTS.values()}
if FOLDER.is_dir():
    sys.meta_path.insert(0, Finder())
