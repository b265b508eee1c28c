"""A production as plain data: two sites, a chain of four steps, everything a page may have to show."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from prodchain.broker.errors import NotFound
from prodchain.catalog.errors import DatasetNotFound

Document = dict[str, Any]

NOW = datetime.now(UTC)
PREFIX = "mc26_13p6TeV:mc26_13p6TeV.700001.Zmumu"
STEPS = (("evgen", "EVNT"), ("sim", "HITS"), ("reco", "AOD"), ("merge", "AOD"))
ERROR = "transfer to SITE-B-DISK failed: No space left on device"
STATES = ("running", "finished", "failed", "activated", "assigned", "transferring", "defined", "starting")


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def did(step: str, data_format: str) -> str:
    return f"{PREFIX}.{step}.{data_format}.v1"


FIRST = did(*STEPS[0])


def job(number: int, state: str = "finished", **changes: Any) -> Document:
    placed = state != "defined"
    return {
        "id": 4200 + number,
        "task": 10_000_001,
        "step": "sim",
        "number": number,
        "attempt": 1,
        "state": state,
        "queue": "SITE-A-BATCH" if placed else None,
        "site": "SITE-A" if placed else None,
        "pilot": "SITE-A-BATCH-1" if state in ("running", "finished", "failed", "starting") else None,
        "priority": 1000,
        "events": 1000,
        "exit_code": {"finished": 0, "failed": 65}.get(state),
        "error": "exit code 65: std::bad_alloc" if state == "failed" else None,
        "command": ["Sim_tf.py", "--inputEVNTFile", "in.root", "--maxEvents", "1000"],
        "inputs": [f"{PREFIX.partition(':')[2]}.evgen.EVNT.v1._{number:06}.root.1"],
        "outputs": [f"{PREFIX.partition(':')[2]}.sim.HITS.v1._{number:06}.root.1"],
        "metrics": {"cpu_s": 181.2, "max_rss_mb": 812} if state == "finished" else {},
        "assignment": {
            "at": ago(minutes=22),
            "queue": "SITE-A-BATCH",
            "reason": "SITE-A-BATCH has the input and the fewest jobs in front",
            "verdicts": [verdict("SITE-A-BATCH"), verdict("SITE-C-TINY", "memory")],
        }
        if placed
        else None,
        "created_at": ago(minutes=30),
        "changed_at": ago(minutes=1, seconds=number),
        "actor": "pilot SITE-A-BATCH-1",
        "reason": f"the pilot said {state}",
    } | changes


def verdict(queue: str, failed: str = "") -> Document:
    return {
        "queue": queue,
        "passed": not failed,
        "criterion": failed,
        "reason": "offers 1000 MB, needs 2000 MB" if failed else "all inputs are there",
        "remedy": "ask for at most 1000 MB" if failed else "",
        "weight": 0.0 if failed else 12.5,
        "missing_bytes": 0 if not failed else 48_200_000,
    }


def task(index: int, **changes: Any) -> Document:
    step, data_format = STEPS[index]
    states = [
        {"finished": 20},
        {"finished": 12, "running": 3, "activated": 2, "failed": 1, "assigned": 2, "transferring": 1},
        {"finished": 4, "running": 1, "defined": 7},
        {},
    ]
    return {
        "id": 10_000_000 + index,
        "step": step,
        "state": ("done", "running", "running", "ready")[index],
        "owner": "ann",
        "run": "d2b0e3a4-zmumu",
        "priority": 1000,
        "input": did(*STEPS[index - 1]) if index else None,
        "output": did(step, data_format),
        "destination": "SITE-A-DISK",
        "numbers": sum(states[index].values()),
        "generated": index == 0,
        "jobs": states[index],
        "events_done": (20_000, 12_000, 4_000, 0)[index],
        "events_total": (20_000, 20_000, 12_000, 0)[index],
        "created_at": ago(hours=1),
        "changed_at": ago(minutes=index + 1),
        "actor": "agent place",
        "reason": "jobs are running" if index else "all jobs finished",
        "request": {"step": step, "output": did(step, data_format), "events": 20_000, "command": ["Gen_tf.py"]},
    } | changes


def dataset(step: str, data_format: str, **changes: Any) -> Document:
    name = did(step, data_format)
    return {
        "did": name,
        "scope": name.partition(":")[0],
        "name": name.partition(":")[2],
        "kind": "production",
        "state": "open",
        "owner": "ann",
        "files": 12,
        "bytes": 1_234_567_890,
        "events": 12_000,
        "created_at": ago(hours=1),
        "closed_at": None,
        "project": "mc26_13p6TeV",
        "number": "700001",
        "physics": "Zmumu",
        "step": step,
        "format": data_format,
        "tags": "v1",
        "replicas": [
            {"storage": "SITE-A-DISK", "site": "SITE-A", "files": 12, "bytes": 1_234_567_890, "complete": True},
            {"storage": "SITE-B-DISK", "site": "SITE-B", "files": 5, "bytes": 514_403_287, "complete": False},
        ],
        "made_by": [10_000_001],
        "used_by": [10_000_002],
        "version": 1,
        "latest": True,
        "expires_at": None,
        "deleted_at": None,
        "purge_at": None,
        "meta": None,
        "sites": ["SITE-A", "SITE-B"],
        "versions": [1],
        "parents": [],
        "access": [
            {"by": "shell", "line": f"prodchain get {name}"},
            {"by": "uproot", "line": f"import uproot; file = uproot.open({{'file:///data/{name}': None}})"},
        ],
    } | changes


def file(name: str, number: int) -> Document:
    lfn = f"{name}._{number:06}.root.1"
    return {
        "did": f"{name.partition('.')[0]}:{lfn}",
        "name": lfn,
        "guid": f"00000000-0000-4000-8000-{number:012}",
        "bytes": 102_880_657,
        "adler32": "0a1b2c3d",
        "events": 1000,
        "replicas": [
            {"storage": "SITE-A-DISK", "site": "SITE-A", "url": f"file:///data/site-a/mc26/ab/cd/{lfn}"},
        ],
    }


def pilot(number: int, site: str = "SITE-A", **changes: Any) -> Document:
    return {
        "name": f"{site}-BATCH-{number}",
        "queue": f"{site}-BATCH",
        "site": site,
        "host": f"node{number:03}",
        "first_seen": ago(hours=1),
        "last_seen": ago(seconds=4 * number),
        "job": 4200 + number if number % 2 else None,
        "jobs": 1234 * number,
        "empty_polls": 7,
        "alive": True,
    } | changes


def transfer(number: int, state: str, **changes: Any) -> Document:
    return {
        "file": f"{PREFIX}.evgen.EVNT.v1._{number:06}.root.1",
        "source": "SITE-A-DISK",
        "destination": "SITE-B-DISK",
        "state": state,
        "bytes": 48_200_000,
        "attempts": 1,
        "error": None,
        "method": "clone" if state == "done" else None,
        "owner": "ann",
        "priority": 0,
        "queued_at": ago(minutes=number),
        "started_at": ago(minutes=number, seconds=-2),
        "done_at": ago(minutes=number, seconds=-5) if state == "done" else None,
        "next_try": None,
    } | changes


def subscription(number: int, **changes: Any) -> Document:
    return {
        "id": number,
        "dataset": did("sim", "HITS"),
        "kind": "production",
        "storage": "SITE-B-DISK",
        "state": "active",
        "owner": "ann",
        "standing": True,
        "sources": None,
        "priority": 0,
        "direct": True,
        "created_at": ago(hours=1),
        "expires_at": None,
        "done_at": None,
        "files": 12,
        "bytes": 1_234_567_890,
        "files_there": 5,
        "bytes_there": 514_403_287,
        "files_missing": 7,
        "bytes_missing": 720_164_603,
        "failing": 1,
        "error": ERROR,
    } | changes


def event(state: str, at: datetime, reason: str, job: int | None = None) -> Document:
    return {
        "at": at,
        "task": 10_000_001,
        "job": job,
        "before": None,
        "state": state,
        "actor": "agent place",
        "reason": reason,
    }


STORY = (
    ("defined", 1800, "made from one file of the input"),
    ("assigned", 1798, "SITE-A-BATCH has the input"),
    ("activated", 1500, "all inputs are at SITE-A-DISK"),
    ("sent", 1400, "pilot SITE-A-BATCH-1 asked for work"),
    ("starting", 1398, "fetches its input"),
    ("running", 1390, "the payload runs"),
)


def site(name: str) -> Document:
    return {
        "name": name,
        "description": "where results end up" if name == "SITE-A" else "a site with two cores",
        "storages": [f"{name}-DISK"],
        "queues": [f"{name}-BATCH"],
        "jobs": {"finished": 30, "running": 4, "failed": 1} if name == "SITE-A" else {"finished": 6, "activated": 2},
    }


class Production:
    """The views of the broker, answered from the data above; tests change its attributes."""

    def __init__(self, jobs: int = 40) -> None:
        self.all_tasks = [task(index) for index in (3, 2, 1, 0)]
        self.all_jobs = [job(n, STATES[n % len(STATES)]) for n in range(jobs, 0, -1)]
        self.all_datasets = [dataset(*step) for step in STEPS]
        self.log = "Sim_tf: start\nevent 1 of 1000\n"
        self.asked: list[tuple[str, Document]] = []

    async def overview(self) -> Document:
        return {
            "tasks": self.all_tasks,
            "jobs_by_site": {name: site(name)["jobs"] for name in ("SITE-A", "SITE-B")},
            "pilots": [pilot(1), pilot(2), pilot(1, "SITE-B")],
            "transfers": {
                "queued": 3,
                "active": 1,
                "done": 120,
                "failing": 1,
                "bytes_done": 5_784_000_000,
                "recent": (await self.transfers())["items"],
            },
            "errors": [{"message": ERROR, "jobs": 3, "example_job": 4202, "task": 10_000_001}],
            "agents_seen_s": 1.5,
        }

    async def tasks(self, **filters: Any) -> Document:
        return self._page("tasks", self.all_tasks, filters)

    async def task(self, task: int) -> Document:
        for view in self.all_tasks:
            if view["id"] == task:
                return view
        raise NotFound(f"no task {task}", object=f"task {task}", hint="`prodchain task ls` lists the tasks")

    async def task_why(self, task: int) -> Document:
        reasons = [
            {
                "what": "2 activated, e.g. job 4203: it waits for a pilot of SITE-A-BATCH",
                "remedy": "more pilots",
                "jobs": 2,
            },
            {"what": "1 failed: exit code 65", "remedy": f"prodchain task retry {task}", "jobs": 1},
        ]
        return {
            "object": f"task {task}",
            "state": (await self.task(task))["state"],
            "reasons": reasons,
            "verdicts": [verdict("SITE-A-BATCH"), verdict("SITE-C-TINY", "memory")],
        }

    async def task_story(self, task: int) -> Document:
        items = [event("ready", ago(hours=1), "submitted by ann"), event("running", ago(minutes=59), "first jobs")]
        return {"items": items, "next": None}

    async def jobs(self, **filters: Any) -> Document:
        return self._page("jobs", self.all_jobs, filters)

    async def job(self, job: int) -> Document:
        for view in self.all_jobs:
            if view["id"] == job:
                return view
        raise NotFound(f"no job {job}", object=f"job {job}", hint="`prodchain job ls` lists the jobs")

    async def job_why(self, job: int) -> Document:
        view = await self.job(job)
        reason = {"what": f"pilot SITE-A-BATCH-1 has it ({view['state']})", "remedy": "", "jobs": 1}
        return {"object": f"job {job}", "state": view["state"], "reasons": [reason], "verdicts": []}

    async def job_story(self, job: int) -> Document:
        items = [event(state, ago(seconds=before), why, job) for state, before, why in STORY]
        return {"items": items, "next": None}

    async def job_log(self, job: int, start: int = 0) -> str:
        await self.job(job)
        return self.log[start:]

    async def datasets(self, **filters: Any) -> Document:
        pattern = filters.pop("pattern", "*").strip("*")
        filters.pop("bookkeeping", None)
        place = filters.pop("at", "")
        found = [
            d for d in self.all_datasets if pattern in d["did"] and place.removesuffix("-DISK") in ("", *d["sites"])
        ]
        return self._page("datasets", found, filters)

    async def dataset_facets(self, **filters: Any) -> Document:
        found = (await self.datasets(**filters))["items"]
        fields = {
            name: dict(Counter(d[name] for d in found if d[name]))
            for name in ("project", "number", "physics", "step", "format", "tags")
        }
        kinds = dict(Counter(d["kind"] for d in (await self.datasets())["items"]))
        return {"fields": fields, "kinds": kinds, "datasets": len(found), "exact": True}

    async def dataset(self, did: str) -> Document:
        for view in self.all_datasets:
            if view["did"] == did:
                return view
        raise DatasetNotFound(f"no dataset {did}", object=did, hint="`prodchain ls` takes patterns")

    async def dataset_files(self, did: str, **filters: Any) -> Document:
        view = await self.dataset(did)
        return {"items": [file(view["name"], number) for number in range(1, view["files"] + 1)], "next": None}

    async def dataset_content(self, did: str, **filters: Any) -> Document:
        container = (await self.dataset(did))["kind"] == "container"
        return {"items": self.all_datasets[1:] if container else [], "next": None}

    async def dataset_story(self, did: str, **filters: Any) -> Document:
        text = "3 files, let go at 2027-01-01 12:00 UTC"
        return {
            "items": [{"at": ago(minutes=5), "kind": "undeleted", "object": did, "actor": "ann", "text": text}],
            "next": None,
        }

    async def dataset_lineage(self, did: str) -> Document:
        view = await self.dataset(did)
        facts = {key: view[key] for key in ("version", "kind", "state", "owner", "files", "bytes", "events", "tags")}
        steps = [
            {"did": name, "step": step, "made_by": 10_000_000 + step + 1, "revises": [], "members": []} | facts
            for step, name in enumerate((FIRST, did), start=-1)
        ]
        return {"did": did, "datasets": steps, "tasks": [], "cut": False}

    async def subscriptions(self, **filters: Any) -> Document:
        return {"items": [subscription(1), subscription(2, state="done", files_there=12, failing=0)], "next": None}

    async def subscription_summary(self) -> Document:
        sums = {"active": 2, "files_missing": 7, "bytes_missing": 720_000_000, "failing": 1, "oldest": ago(hours=1)}
        nothing = {"active": 0, "files_missing": 0, "bytes_missing": 0, "failing": 0, "oldest": None}
        return {"dispatch": sums, "destination": nothing, "other": sums}

    async def links(self) -> Document:
        sums = {"files": 120, "bytes": 5_784_000_000, "rate": 48_200_000.0, "failures": 4, "max_transfers": None}
        return {"items": [{"source": "SITE-A-DISK", "destination": "SITE-B-DISK"} | sums], "next": None}

    async def sites(self) -> Document:
        return {"items": [site("SITE-A"), site("SITE-B")], "next": None}

    async def site(self, name: str) -> Document:
        if name not in ("SITE-A", "SITE-B"):
            raise NotFound(f"there is no site {name}", object=f"site {name}", hint="see `prodchain site ls`")
        return site(name)

    async def queues(self) -> Document:
        sizes = {"status": "online", "slots": 2, "cores": 1, "memory_mb": 2000, "walltime_s": 3600, "pilots": 2}
        names = ("SITE-A", "SITE-B")
        items = [
            {"name": f"{n}-BATCH", "site": n, "storage": f"{n}-DISK", "jobs": site(n)["jobs"]} | sizes for n in names
        ]
        return {"items": items, "next": None}

    async def storages(self) -> Document:
        items = [
            {
                "name": f"{n}-DISK",
                "site": n,
                "url": f"file:///data/{n}",
                "kind": "disk",
                "home": n == "SITE-A",
                "readable": True,
                "writable": True,
                "deletable": True,
                "files": 44,
                "bytes": 4_400_000_000,
                "capacity_bytes": 5_000_000_000 if n == "SITE-A" else None,
                "free_bytes": 600_000_000 if n == "SITE-A" else None,
                "min_free_bytes": 1_000_000_000,
                "moving_files": 3,
                "moving_bytes": 144_600_000,
                "failing": 1,
                "max_transfers": 8,
                "attributes": {},
                "as_of": NOW,
            }
            for n in ("SITE-A", "SITE-B")
        ]
        return {"items": items, "next": None}

    async def pilots(self, **filters: Any) -> Document:
        items = [pilot(1), pilot(2), pilot(3, alive=False, job=None, last_seen=ago(hours=3)), pilot(1, "SITE-B")]
        return {"items": items, "next": None}

    async def transfers(self, **filters: Any) -> Document:
        failing = transfer(2, "queued", error=ERROR, attempts=4, next_try=NOW + timedelta(minutes=8))
        if filters.get("state") == "failing":
            return {"items": [failing], "next": None}
        return {"items": [transfer(1, "active"), failing, transfer(3, "queued"), transfer(4, "done")], "next": None}

    def _page(self, name: str, items: list[Document], filters: Document) -> Document:
        """The items that match the filters, ``limit`` of them; what was asked is kept for the test."""
        self.asked.append((name, dict(filters)))
        limit, after = filters.pop("limit", 100), filters.pop("after", None)
        matching = [item for item in items if all(item.get(key) == value for key, value in filters.items())]
        if after is not None:
            matching = [item for item in matching if item["id"] < int(after)]
        more = len(matching) > limit
        return {"items": matching[:limit], "next": matching[limit - 1]["id"] if more else None}
