"""A small broker: real HTTP, the plan's documents, files in a folder. It stands in where tests need faults."""

import json
import re
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Document = dict[str, Any]
NOW = "2026-01-02T03:04:05+00:00"
TASK = 10_000_001
JOB = 4211
ONE = ("replicas", "made_by", "used_by", "versions", "parents", "access")
"""Keys of a dataset that lists leave out."""
PAGE = 2
"""Files a page, so that every listing of files has to turn pages."""


def task_view(**other: Any) -> Document:
    view = {
        "id": TASK, "step": "sim", "state": "running", "owner": "ada", "run": None, "priority": 1000,
        "input": "mc:mc.1.Z.evgen.EVNT.v1", "output": "mc:mc.1.Z.sim.HITS.v1", "destination": "A-DISK",
        "numbers": 4, "generated": True, "jobs": {"running": 1, "finished": 3}, "events_done": 300,
        "events_total": 400, "created_at": NOW, "changed_at": NOW, "actor": "agent", "reason": "jobs run",
        "request": {"command": ["Sim_tf.py", "{inputs}"]},
    }  # fmt: skip
    return view | other


def job_view(**other: Any) -> Document:
    view = {
        "id": JOB, "task": TASK, "step": "sim", "number": 7, "attempt": 1, "state": "running", "queue": "A-BATCH",
        "site": "A", "pilot": "p1", "priority": 1000, "events": 100, "exit_code": None, "error": None,
        "command": ["Sim_tf.py", "in.root"], "inputs": ["in.root"], "outputs": ["out.root"], "metrics": {},
        "assignment": {"at": NOW, "queue": "A-BATCH", "reason": "has all inputs", "verdicts": []},
        "created_at": NOW, "changed_at": NOW, "actor": "pilot:p1", "reason": "payload runs",
    }  # fmt: skip
    return view | other


def verdict(queue: str, passed: bool, criterion: str = "", reason: str = "", remedy: str = "") -> Document:
    return {
        "queue": queue, "passed": passed, "criterion": criterion, "reason": reason, "remedy": remedy,
        "weight": 1.5 if passed else 0.0, "missing_bytes": 5_000_000,
    }  # fmt: skip


def outcome(verb: str, about: str, order: Document, changes: Document, jobs: dict[str, int]) -> Document:
    return {
        "verb": verb, "object": about, "dry_run": order["dry_run"], "changes": changes, "jobs": jobs, "note": "",
    }  # fmt: skip


WHY = {
    "object": f"job {JOB}",
    "state": "defined",
    "at": NOW,
    "reasons": [
        {"what": "no queue suits: memory.", "remedy": "ask for 2000 MB", "who": "user", "change": {}, "jobs": 3}
    ],
    "rank": None,
    "missing": [],
    "cheapest": {
        "who": "user",
        "text": "ask for 2000 MB",
        "queue": "A-BATCH",
        "change": {"task": {"memory_mb": 2000}},
        "command": "prodchain task set 10000001 memory_mb=2000",
    },
    "verdicts": [
        verdict("A-BATCH", False, "memory", "offers 2000 MB, needs 64000 MB", "memory_mb <= 2000"),
        verdict("B-BATCH", True, reason="suits"),
    ],
}


class Broker:
    """Its state is open to tests; ``faults`` are what happens to the next requests instead of an answer."""

    def __init__(self, storage: Path) -> None:
        self.storage = storage
        self.tokens = {"user-token": "user", "admin-token": "admin"}
        self.datasets: dict[str, Document] = {}
        self.files: dict[str, list[Document]] = {}
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.job = job_view()
        self.task = task_view()
        self.log = "first line\nsecond line\n"
        self.url = ""

    def add_dataset(self, name: str, **other: Any) -> Document:
        scope = other.get("scope", name.split(".")[0])
        did = f"{scope}:{name}"
        view = {
            "did": did, "scope": scope, "name": name, "kind": "production", "state": "open", "owner": "ada",
            "files": 0, "bytes": 0, "events": 0, "created_at": NOW, "closed_at": None, "project": scope,
            "number": "1", "physics": "Z", "step": "reco", "format": "AOD", "tags": "v1",
            "replicas": [], "made_by": [TASK], "used_by": [], "version": 1, "latest": True, "expires_at": None,
            "deleted_at": None, "purge_at": None, "meta": None, "sites": [], "versions": [1], "parents": [],
            "access": [{"by": "shell", "line": f"prodchain get {name}"}],
        }  # fmt: skip
        self.datasets[did] = view | other
        self.files[did] = []
        return self.datasets[did]

    def add_file(self, dataset: Document, name: str, content: bytes, storages: tuple[str, ...] = ("A-DISK",)) -> Path:
        """A file with a replica at each storage; the path of the last one."""
        replicas = []
        for storage in storages:
            path = self.storage / storage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            replicas.append({"storage": storage, "site": storage[0], "url": f"file:{path}"})
        self._register(dataset, name, len(content), f"{zlib.adler32(content):08x}", 10, replicas)
        return path

    def _register(
        self,
        dataset: Document,
        name: str,
        size: int,
        adler32: str,
        events: int,
        replicas: list[Document],
        meta: Document | None = None,
    ) -> None:
        view = {
            "did": f"{dataset['scope']}:{name}", "name": name, "guid": "g", "bytes": size, "adler32": adler32,
            "md5": None, "events": events, "meta": meta, "replicas": replicas,
        }  # fmt: skip
        self.files[dataset["did"]].append(view)
        dataset["files"] += 1
        dataset["bytes"] += size
        dataset["events"] += events
        sites = {replica["site"]: replica["storage"] for replica in replicas}
        dataset["sites"] = sorted(sites)
        dataset["replicas"] = [
            {"storage": storage, "site": site, "files": dataset["files"], "bytes": dataset["bytes"], "complete": True}
            for site, storage in sites.items()
        ]

    # Answers: (status, document or text)

    def answer(self, method: str, path: str, query: Document, body: Any, token: str | None) -> tuple[int, Any]:
        if token is None and method == "POST":
            return problem(401, "token-missing", "this needs a token", path, "send one")
        if token == "expired-token":
            return problem(401, "token-expired", "the token expired yesterday", "ada", "get a new one")
        if token is not None and token not in self.tokens:
            return problem(401, "token-unknown", "nobody issued this token", path, "get a new one")
        if path in ("/api/sites/apply", "/api/tokens") and self.tokens[token or ""] != "admin":
            return problem(403, "forbidden", "a user token does not allow this", "ada", "ask an admin")
        for pattern, name in _ROUTES:
            if (match := re.fullmatch(pattern, f"{method} {path}")) is not None:
                result = getattr(self, name)(*match.groups(), query=query, body=body)
                return result if isinstance(result, tuple) else (200, result)
        return problem(404, "no-such-route", "no such route", path, "see the plan")

    def dataset_list(self, *, query: Document, **_: Any) -> Any:
        pattern = re.escape(query.get("pattern", "*")).replace(r"\*", ".*").replace(r"\?", ".")
        hidden = () if query.get("bookkeeping") == "true" else ("dispatch", "sub")
        wanted = [key for key in ("kind", "step", "format") if key in query]
        found = [
            {key: value for key, value in view.items() if key not in ONE}
            for view in self.datasets.values()
            if re.fullmatch(pattern, view["name"]) and view["kind"] not in hidden
            and all(view[key] == query[key] for key in wanted)
        ]  # fmt: skip
        return page(found, query, size=1000)

    def dataset_one(self, did: str, **_: Any) -> Any:
        did = did if ":" in did else f"{did.split('.')[0]}:{did}"
        if did not in self.datasets:
            near = ", ".join(self.datasets) or "nothing"
            return problem(404, "dataset-not-found", f"no dataset '{did}'", did, f"did you mean {near}?")
        return self.datasets[did]

    def dataset_files(self, did: str, *, query: Document, **_: Any) -> Any:
        view = self.dataset_one(did)
        return view if isinstance(view, tuple) else page(self.files[view["did"]], query, size=PAGE)

    def dataset_close(self, did: str, **_: Any) -> Any:
        view = self.dataset_one(did)
        if isinstance(view, dict):
            view["state"] = "closed"
        return view

    def upload(self, *, body: Any, **_: Any) -> Any:
        storage = body["storage"] or "A-DISK"
        known = {file["name"] for file in self.files.get(body["dataset"], [])}
        files = [
            {"name": f["name"], "url": f"file:{self.storage / storage / f['name']}", "present": f["name"] in known}
            for f in body["files"]
        ]
        return {"storage": storage, "files": files, "quota_left_bytes": 10**9}

    def commit(self, *, body: Any, **_: Any) -> Any:
        did, storage = body["dataset"], body["storage"]
        for file in body["files"]:
            path = self.storage / storage / file["name"]
            if not path.exists() or f"{zlib.adler32(path.read_bytes()):08x}" != file["adler32"]:
                return problem(409, "checksum-mismatch", f"{file['name']} is not there as announced", did, "again")
        dataset = self.datasets.get(did) or self.add_dataset(
            did.partition(":")[2], kind=body["kind"], did=did, made_by=[]
        )
        known = {file["name"] for file in self.files[did]}
        for file in body["files"]:
            if file["name"] not in known:
                url = f"file:{self.storage / storage / file['name']}"
                replicas = [{"storage": storage, "site": storage[0], "url": url}]
                facts = (file["name"], file["bytes"], file["adler32"], file["events"])
                self._register(dataset, *facts, replicas, file.get("meta"))
        return dataset

    def task_list(self, *, query: Document, **_: Any) -> Any:
        return page([self.task], query, size=1000)

    def task_one(self, task: str, **_: Any) -> Any:
        if int(task) != TASK:
            return problem(404, "not-found", f"no task {task}", task, "GET /api/tasks lists the tasks")
        return self.task

    def task_submit(self, *, body: Any, **_: Any) -> Any:
        return 201, task_view(output=body["output"])

    def task_kill(self, task: str, *, body: Any, **_: Any) -> Any:
        changes, jobs = {"state": [self.task["state"], "aborted"]}, {"running": 1}
        if not body["dry_run"]:
            self.task = task_view(state="aborted", reason="killed by ada")
        return outcome("kill", f"task {task}", body, changes, jobs)

    def task_retry(self, task: str, **_: Any) -> Any:
        return problem(
            409, "wrong-state", "the task runs; there is nothing to retry", task, "wait until it has ended"
        )

    def why(self, _id: str, *, query: Document, **_: Any) -> Any:
        return WHY | {"at": query.get("at", NOW)}

    def story(self, _id: str, *, query: Document, **_: Any) -> Any:
        event = {"at": NOW, "task": TASK, "job": JOB, "actor": "agent", "reason": "chosen"}
        ways = [(None, "defined"), ("defined", "assigned")]
        return page([event | {"before": before, "state": state} for before, state in ways], query, size=1)

    def job_list(self, *, query: Document, **_: Any) -> Any:
        return page([self.job], query, size=1000)

    def job_one(self, job: str, **_: Any) -> Any:
        if int(job) != JOB:
            return problem(404, "not-found", f"no job {job}", job, "GET /api/jobs lists the jobs")
        return self.job

    def job_log(self, _job: str, *, query: Document, **_: Any) -> Any:
        return self.log[int(query.get("start", 0)) :]

    def job_kill(self, job: str, *, body: Any, **_: Any) -> Any:
        changes = {"state": [self.job["state"], "cancelled"]}
        if not body["dry_run"]:
            self.job = job_view(state="cancelled", reason="killed by ada")
        return outcome("kill", f"job {job}", body, changes, {"running": 1})

    def site_list(self, *, query: Document, **_: Any) -> Any:
        site = {"name": "SITE-A", "description": "home", "storages": ["A-DISK"], "queues": ["A-BATCH"], "jobs": {}}
        return page([site], query, size=1000)

    def queue_list(self, *, query: Document, **_: Any) -> Any:
        queue = {
            "name": "A-BATCH", "site": "SITE-A", "storage": "A-DISK", "status": "online", "ordered": None,
            "health": "good", "health_reason": "", "slots": 1, "cores": 1,
            "memory_mb": 2000, "walltime_s": 3600, "jobs": {"running": 1}, "pilots": 1,
        }  # fmt: skip
        return page([queue], query, size=1000)

    def storage_one(self, storage: str, **_: Any) -> Any:
        if storage not in ("A-DISK", "B-DISK"):
            return problem(404, "not-found", f"there is no storage {storage}", f"storage {storage}", "see storage ls")
        return {"name": storage, "url": f"file:{self.storage / storage}"}

    def storage_list(self, *, query: Document, **_: Any) -> Any:
        storage = {
            "name": "A-DISK", "site": "SITE-A", "url": "file:/a", "kind": "disk", "home": True, "readable": True,
            "writable": True, "deletable": True, "files": 3, "bytes": 9, "capacity_bytes": 100, "free_bytes": 91,
            "min_free_bytes": 0, "moving_files": 1, "moving_bytes": 5, "failing": 0, "max_transfers": 8,
            "attributes": {}, "as_of": NOW,
        }  # fmt: skip
        return page([storage], query, size=1000)

    def pilot_list(self, *, query: Document, **_: Any) -> Any:
        pilot = {
            "name": "p1", "queue": "A-BATCH", "site": "SITE-A", "host": "node1", "first_seen": NOW, "last_seen": NOW,
            "job": JOB, "jobs": 5, "empty_polls": 2, "alive": True,
        }  # fmt: skip
        return page([pilot, pilot | {"name": "p0", "alive": False}], query, size=1000)

    def transfer_list(self, *, query: Document, **_: Any) -> Any:
        return page([], query, size=1000)

    def overview(self, **_: Any) -> Any:
        return {"tasks": [self.task], "agents_seen_s": 1.0}

    def health(self, **_: Any) -> Any:
        return {"status": "ok", "version": "1", "database": "ok", "agents_seen_s": 1.0}

    def apply(self, *, body: Any, **_: Any) -> Any:
        return {"changes": [f"{'would add' if body['dry_run'] else 'added'} queue X of {body['base']}"]}

    def token(self, *, body: Any, **_: Any) -> Any:
        return 201, {"token": f"new-{body['kind']}", "expires_at": NOW}


_DID, _ID = r"([^/]+)", r"(\d+)"
_ROUTES = [
    (r"GET /api/datasets", "dataset_list"),
    (rf"GET /api/datasets/{_DID}", "dataset_one"),
    (rf"GET /api/datasets/{_DID}/files", "dataset_files"),
    (rf"POST /api/datasets/{_DID}/close", "dataset_close"),
    (r"POST /api/uploads", "upload"),
    (r"POST /api/uploads/commit", "commit"),
    (r"GET /api/tasks", "task_list"),
    (r"POST /api/tasks", "task_submit"),
    (rf"GET /api/tasks/{_ID}", "task_one"),
    (rf"POST /api/tasks/{_ID}/kill", "task_kill"),
    (rf"POST /api/tasks/{_ID}/retry", "task_retry"),
    (rf"GET /api/(?:tasks|jobs)/{_ID}/why", "why"),
    (rf"GET /api/(?:tasks|jobs)/{_ID}/story", "story"),
    (r"GET /api/jobs", "job_list"),
    (rf"GET /api/jobs/{_ID}", "job_one"),
    (rf"GET /api/jobs/{_ID}/log", "job_log"),
    (rf"POST /api/jobs/{_ID}/kill", "job_kill"),
    (r"GET /api/sites", "site_list"),
    (r"GET /api/queues", "queue_list"),
    (r"GET /api/storages", "storage_list"),
    (r"GET /api/storages/(?P<storage>[^/]+)", "storage_one"),
    (r"GET /api/pilots", "pilot_list"),
    (r"GET /api/transfers", "transfer_list"),
    (r"GET /api/overview", "overview"),
    (r"GET /api/health", "health"),
    (r"POST /api/sites/apply", "apply"),
    (r"POST /api/tokens", "token"),
]


def page(items: list[Document], query: Document, *, size: int) -> Document:
    start = int(query.get("after", 0))
    end = start + min(size, int(query.get("limit", 100)))
    return {"items": items[start:end], "next": end if end < len(items) else None}


def problem(status: int, code: str, detail: str, about: str, hint: str) -> tuple[int, Document]:
    return status, {"status": status, "code": code, "detail": detail, "object": about, "hint": hint}


@contextmanager
def serving(broker: Broker) -> Iterator[Broker]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            broker.requests.append(f"{self.command} {unquote(url.path)}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = broker.faults.pop(0) if broker.faults else ""
            if fault == "drop":  # the connection breaks before there is an answer
                self.close_connection = True
                return
            if fault == "slow":
                time.sleep(1)
            if fault == "away":
                status, answer = problem(503, "unavailable", "the database does not answer", "database", "wait")
            else:
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
                document = json.loads(body) if body else None
                status, answer = broker.answer(
                    self.command, unquote(url.path), dict(parse_qsl(url.query)), document, token
                )
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(BrokenPipeError):  # a client that gave up
                self.wfile.write(data)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    broker.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield broker
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
