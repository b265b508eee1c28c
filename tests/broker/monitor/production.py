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


def whole(queue: str, *failed: str, who: str = "user") -> Document:
    """A verdict with all that the queue fails."""
    failures = [
        {
            "criterion": criterion,
            "reason": f"offers too little {criterion}",
            "remedies": [{"who": who, "text": f"ask for less {criterion}", "change": {"task": {criterion: 1}}}],
        }
        for criterion in failed
    ]
    return verdict(queue, failed[0] if failed else "") | {"failures": failures}


VERDICTS = [
    *(whole(f"SITE-{letter}-BATCH") for letter in "AB"),
    *(whole(f"TINY-{number:03}", "memory_mb") for number in range(100)),
    *(whole(f"AWAY-{number:03}", "status", "memory_mb", who="operator") for number in range(48)),
]
"""Of 150 queues."""


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


def event(state: str, at: datetime, reason: str) -> Document:
    return {
        "at": at,
        "before": None,
        "state": state,
        "actor": "agent place",
        "reason": reason,
        "verb": "",
        "changes": {},
        "jobs": {},
    }


def ordered(verb: str, at: datetime, changes: Document) -> Document:
    same = {"actor": "user:ann", "verb": verb, "changes": changes, "jobs": {"defined": 7}}
    return event("", at, "the payload needs more") | same


MISSING = {
    "file": "mc26_13p6TeV.700001.Zmumu.evgen.EVNT.v1._000002.root.1",
    "storage": "SITE-B-DISK",
    "bytes": 48_200_000,
    "source": "SITE-A-DISK",
    "state": "queued",
    "words": "the third in the lane from SITE-A-DISK",
    "error": None,
    "next_try": None,
}


def cheapest(task: int) -> Document:
    return {
        "who": "user",
        "text": "ask for 1000 MB",
        "queue": "SITE-C-TINY",
        "change": {"task": {"memory_mb": 1000}},
        "command": f"prodchain task set {task} memory_mb=1000",
    }


def error(message: str, jobs: int, **changes: Any) -> Document:
    return {
        "message": message,
        "jobs": jobs,
        "task": 10_000_001,
        "tasks": [10_000_001],
        "more_tasks": 0,
        "sites": {"SITE-B": jobs},
        "queues": {"SITE-B-BATCH": jobs},
        "example_job": 4202,
        "example": message,
        "exit_code": None,
        "first_seen": ago(minutes=40),
        "last_seen": ago(minutes=3),
        "rule": "scratch-full",
        "then": "tried again, at another queue, without using up an attempt",
        "passive": [],
        "remedy": "make room: `prodchain task set 10000001 scratch_mb=...`",
    } | changes


def lane(number: int) -> Document:
    """A job whose input is copied while others run."""
    copied, ran = ago(minutes=20 - number), ago(minutes=19 - number)
    return {
        "job": 4200 + number,
        "number": number,
        "attempt": 1,
        "state": "running" if number > 6 else "finished",
        "queue": "SITE-B-BATCH",
        "spans": [
            {"what": "copy", "from": copied, "until": ran, "words": f"_{number:06} from SITE-A-DISK to SITE-B-DISK"},
            {"what": "assigned", "from": ago(minutes=25), "until": ran, "words": ""},
            {
                "what": "running",
                "from": ran,
                "until": None if number > 6 else ran + timedelta(minutes=3),
                "words": "",
            },
        ],
    }


def share(name: str, parent: str | None, depth: int, target: float, use: float) -> Document:
    return {
        "name": name,
        "parent": parent,
        "depth": depth,
        "value": 100 * target,
        "match": {"activity": name},
        "retired": False,
        "target": target,
        "use": use,
        "cores": int(100 * use),
        "waiting": 40,
        "core_hours": 1234.56,
    }


SHARES = [
    share("production", None, 0, 0.8, 0.84),
    share("simulation", "production", 1, 0.6, 0.7),
    share("reconstruction", "production", 1, 0.2, 0.14),
    share("analysis", None, 0, 0.2, 0.16),
]
JOURNAL = [
    {
        "id": number,
        "at": ago(hours=5 - number),
        "actor": actor,
        "verb": verb,
        "object": about,
        "reason": "it fails everywhere",
        "detail": {"changes": changes, "jobs": {"running": 3}},
    }
    for number, actor, verb, about, changes in (
        (3, "user:ann", "kill", "task 10000001", {"state": ["running", "aborted"]}),
        (2, "user:bob", "drain", "queue SITE-B-BATCH", {"status": ["online", "drain"]}),
        (1, "user:ann", "set", "share higgs", {"higgs": [20, 25]}),
    )
]


def health(site: str, *, drained: bool = False) -> Document:
    return {
        "queue": f"{site}-BATCH",
        "site": site,
        "status": "online",
        "ordered": None,
        "health": "drained" if drained else "good",
        "reason": f"9 of the last 10 runs failed, all with '{ERROR}'" if drained else "",
        "strikes": 2 if drained else 0,
        "since": ago(minutes=6) if drained else None,
        "next_at": NOW + timedelta(minutes=4) if drained else None,
        "canary": None,
        "canary_state": None,
        "runs": 10,
        "failed": 9 if drained else 1,
        "last_end": ago(minutes=1),
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
        self.throttled = ""
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
            "errors": (await self.errors())["items"],
            "queues": [view for view in (await self.queue_health())["items"] if view["health"] != "good"],
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
                "who": "operator",
                "change": {"pilots": {"queue": "SITE-A-BATCH"}},
                "jobs": 2,
            },
            {
                "what": "1 failed: exit code 65",
                "remedy": f"prodchain task retry {task}",
                "who": "user",
                "change": {},
                "jobs": 1,
            },
        ]
        return {
            "object": f"task {task}",
            "state": (await self.task(task))["state"],
            "at": datetime.now(UTC),
            "reasons": reasons,
            "rank": {"place": 12, "of": 10_000, "ahead_in_share": 3, "more_than": ["of"]},
            "missing": [MISSING],
            "cheapest": cheapest(task),
            "verdicts": VERDICTS,
        }

    async def task_details(self, task: int) -> Document:
        view = await self.task(task)
        data = {"role": "", "state": "open", "files": 12, "events": 12_000, "bytes": 1_234_567_890}
        return {
            "throttled": self.throttled,
            "ending": False,
            "orders": [{"verb": "kill", "after": 5000, "actor": "user:ann"}] if self.throttled else [],
            "group": "higgs",
            "activity": "production",
            "share": "simulation",
            "cores": 3,
            "sizes": [{"name": "memory_mb", "submitted": 2000, "scouts": 1250, "ordered": 1500, "now": 1500}],
            "scouts": {"at": ago(minutes=58), "reason": "5 scouts: memory 980 MB, CPU 12.1 s per event"},
            "inputs": [data | {"did": view["input"]}, data | {"did": FIRST, "role": "minbias"}] if task % 10 else [],
            "outputs": [data | {"did": view["output"]}],
            "parent": None,
            "merging": {"id": 10_000_003, "state": "running", "reason": "", "jobs": {"finished": 1, "running": 1}},
            "decisions": [
                {"at": ago(minutes=2), "until": ago(minutes=1), "queue": None, "jobs": 4, "reason": "all are full"},
                {"at": ago(minutes=9), "until": ago(minutes=9), "queue": "SITE-A-BATCH", "jobs": 5, "reason": "near"},
            ],
            "pace": {"ends": 12, "first": ago(minutes=50), "last": ago(minutes=1)},
        }

    async def task_spans(self, task: int) -> Document:
        return {"items": [lane(number) for number in range(1, 9)]}

    async def task_story(self, task: int) -> Document:
        items = [
            event("ready", ago(hours=1), "submitted by ann"),
            event("running", ago(minutes=59), "first jobs"),
            ordered("set", ago(minutes=30), {"memory_mb": [1250, 1500]}),
        ]
        return {"items": items, "cut": False}

    async def jobs(self, **filters: Any) -> Document:
        return self._page("jobs", self.all_jobs, filters)

    async def job(self, job: int) -> Document:
        for view in self.all_jobs:
            if view["id"] == job:
                return view
        raise NotFound(f"no job {job}", object=f"job {job}", hint="`prodchain job ls` lists the jobs")

    async def job_why(self, job: int) -> Document:
        view = await self.job(job)
        reason = {"what": "SITE-A-BATCH has it", "remedy": "", "who": "nobody", "change": {}, "jobs": 1}
        return {
            "object": f"job {job}",
            "state": view["state"],
            "at": datetime.now(UTC),
            "reasons": [reason],
            "rank": None,
            "missing": [],
            "cheapest": None,
            "verdicts": VERDICTS if view["queue"] else [],
        }

    async def job_attempts(self, job: int) -> Document:
        view = await self.job(job)
        same = {name: view[name] for name in ("queue", "site", "created_at", "changed_at")}
        run = same | {"spared": 0, "started_at": ago(minutes=20), "walltime_s": 3600}
        reason = "job 4000 failed: rule out-of-memory; attempt 2 of 3 follows; with 1500 MB instead of 1000"
        last = {"job": job, "attempt": 2, "state": view["state"], "exit_code": None, "error": view["error"]}
        first = {"job": 4000, "attempt": 1, "state": "failed", "exit_code": 65, "error": "std::bad_alloc"}
        return {
            "items": [
                run | last | {"memory_mb": 1500, "reason": reason},
                run | first | {"memory_mb": 1000, "reason": "made from one file of the input"},
            ]
        }

    async def errors(self, **filters: Any) -> Document:
        self.asked.append(("errors", dict(filters)))
        kinds = [error(ERROR, 3), error("exit code N: std::bad_alloc", 2, rule="out-of-memory", exit_code=65)]
        return {"items": kinds, "looked_at": 5, "limit": 2000}

    async def shares(self, days: int = 7) -> Document:
        return {"items": SHARES, "next": None}

    async def journal(self, **filters: Any) -> Document:
        by = filters.pop("by", None)
        return self._page("journal", JOURNAL, filters | ({"actor": f"user:{by}"} if by else {}))

    async def queue_health(self) -> Document:
        return {"items": [health("SITE-A"), health("SITE-B", drained=True)]}

    async def site_health(self, site: str) -> Document:
        ends = [
            {"queue": f"{site}-BATCH", "job": 4200 + n, "at": ago(minutes=9 - n), "failed": n > 3, "error": ERROR}
            for n in range(1, 9)
        ]
        order = {"queue": f"{site}-BATCH", "at": ago(days=1), "actor": "user:ann", "verb": "drain", "reason": "disk"}
        return {"items": [health(site, drained=site == "SITE-B") | {"ends": ends, "orders": [order]}]}

    async def job_story(self, job: int) -> Document:
        items = [event(state, ago(seconds=before), why) for state, before, why in STORY]
        return {"items": items, "cut": False}

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
        sizes = {
            **{"status": "online", "slots": 2, "cores": 1, "memory_mb": 2000, "walltime_s": 3600, "pilots": 2},
            **{"scratch_mb": 20_000, "gpus": 0, "architecture": "x86_64", "software": [], "allow": []},
            **{"max_jobs": None, "analysis_percent": None, "ordered": None},
            **{"health": "good", "health_reason": "", "health_since": None, "canary": None, "canary_at": None},
        }
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
