"""Three sites that differ, around one system: their pilots, software and a slow link; and what was asked and said.

The pilots are started here, as a batch system would start them; what the sites lack or lose is taken from real files
and processes.
"""

import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prodchain.cli.reasons import show_why

from ..storages.servers import end
from ..storages.webdav import rclone_webdav
from .storages import Storages
from .system import System, wait_until

SITES = """
home = "TIER1-DISK"

[site.TIER1]
description = "where results end up"
[site.TIER1.storage.TIER1-DISK]
url = "file:storage/tier1"
[site.TIER1.queue.TIER1-BATCH]
storage = "TIER1-DISK"
slots = 3
memory_mb = 2000
walltime_s = 7200

[site.UNI]
description = "large slots behind a slow link"
[site.UNI.storage.UNI-DISK]
url = "{url}"
[site.UNI.queue.UNI-BATCH]
storage = "UNI-DISK"
slots = 2
memory_mb = 6000
walltime_s = 3600

[site.HPC]
description = "many short slots, and a small disk"
[site.HPC.storage.HPC-DISK]
url = "file:storage/hpc"
capacity_gb = 1
[site.HPC.queue.HPC-BATCH]
storage = "HPC-DISK"
slots = 4
memory_mb = 1000
walltime_s = 900
"""
SETTINGS = "lease_s = 6\nheartbeat_s = 1\ncanary_s = 4\n"
MEMORY_MB = {"TIER1-BATCH": 2000, "UNI-BATCH": 6000, "HPC-BATCH": 1000}
LINK_BYTES_S = 300_000
TOOLS = ("uname", "date")
"""What a site has beside the software of the experiment."""
WRAPPER = """#!/bin/sh
ulimit -v {limit_kb}
exec python {program} "$@"
"""
PROGRAM = Path(__file__).with_name("simulate.py")


@contextmanager
def slow_link(port: int, bytes_s: float) -> Iterator[int]:
    """A port in front of another one, which lets so many bytes a second through, in both directions together."""
    turn = threading.Lock()
    stopping = threading.Event()
    threads: list[threading.Thread] = []

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(16_384):
                with turn:
                    stopping.wait(len(data) / bytes_s)
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def join(here: socket.socket) -> None:
        """Both ways, until each has ended."""
        with here, socket.create_connection(("127.0.0.1", port)) as there:
            back = threading.Thread(target=carry, args=(there, here), daemon=True)
            back.start()
            carry(here, there)
            back.join()

    def accept(door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=join, args=door.accept()[:1], daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as door:
        threads.append(threading.Thread(target=accept, args=(door,), daemon=True))
        threads[0].start()
        try:
            yield door.getsockname()[1]
        finally:  # whoever used it is gone
            stopping.set()
            door.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(timeout=10)


@dataclass
class Said:
    """A command, when it was run, what it printed; of ``why`` the whole answer, and what had to be in it."""

    command: str
    at: str
    text: str
    answer: Any = None
    truths: tuple[str, ...] = ()


@dataclass
class Sites(Storages):
    """A system with three sites; ``told`` is what was asked of it, with a sentence before each."""

    pilots: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    told: list[str | Said] = field(default_factory=list)

    # Its sites

    def software(self, queue: str) -> Path:
        """The folder that is all of the PATH of a site's pilots."""
        return self.system.home / "software" / queue

    def install(self, queue: str) -> None:
        """What the experiment needs at the site: its program in a wrapper that knows the slot's memory."""
        folder = self.software(queue)
        folder.mkdir(parents=True)
        wrapper = folder / "simulate"
        wrapper.write_text(WRAPPER.format(limit_kb=MEMORY_MB[queue] * 1000, program=PROGRAM))
        wrapper.chmod(stat.S_IRWXU)
        for tool in TOOLS:
            (folder / tool).symlink_to(Path("/usr/bin") / tool)

    def start_pilot(self, queue: str, number: int) -> None:
        name = f"{queue.removesuffix('-BATCH').lower()}-{number}"
        port = json.loads((self.system.home / "run" / "server.json").read_text())["port"]
        command = [
            *(sys.executable, "-m", "prodchain.pilot_agent", "--server", f"http://127.0.0.1:{port}"),
            *("--token-file", str(self.system.home / "credentials" / f"pilot-{queue}.token"), "--name", name),
            *("--memory-mb", str(MEMORY_MB[queue]), "--idle-s", "0"),
            *("--work-dir", str(self.system.home / "work" / name)),
        ]
        environment = self.system.environment | {"PATH": str(self.software(queue))}
        (self.system.home / "work" / name).mkdir(parents=True)
        with (self.system.home / "logs" / f"pilot-{name}.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.stack.callback(end, process)
        self.pilots[name] = process

    def signal_pilot(self, name: str, number: signal.Signals) -> None:
        os.kill(self.pilots[name].pid, number)

    # Its users

    def submit(self, output: str, *command: str, user: str | None = None, **more: Any) -> int:
        """Submit a task; its number."""
        file = self.system.home / f"{output}.json"
        file.write_text(json.dumps({"step": more.pop("step", "simul"), "output": output, "command": command, **more}))
        words = ["task", "submit", str(file)]
        return int(self.json(*words, user=user)["id"])

    def json(self, *words: str, user: str | None = None) -> Any:
        if user is None:
            return self.system.json(*words)
        with self.as_user(user):
            return self.system.json(*words)

    @contextmanager
    def as_user(self, user: str) -> Iterator[None]:
        own, their = (self.system.home / "credentials" / name for name in ("user.token", f"{user}.token"))
        mine = own.read_text()
        own.write_text(their.read_text())
        try:
            yield
        finally:
            own.write_text(mine)

    # What it says

    def say(self, sentence: str) -> None:
        self.told.append(sentence)

    def why(self, what: str, number: int, *truths: str, at: str | None = None) -> Any:  # type: ignore[override]
        """The answer of ``task why`` or ``job why``, which is kept; the truths must be in it."""
        words = [what, "why", str(number), *(["--at", at] if at else [])]
        answer = self.system.json(*words)
        told = "\n".join(reason["what"] for reason in answer["reasons"])
        assert [truth for truth in truths if truth not in told] == [], told
        with redirect_stdout(io.StringIO()) as text:
            show_why(answer, at)
        self.told.append(Said(" ".join(["prodchain", *words]), answer["at"], text.getvalue(), answer, truths))
        return answer

    def until_told(self, what: str, number: int, words: str, timeout_s: float = 60) -> None:
        """Wait until ``why`` says these words."""
        said = [""]

        def told() -> bool:
            said.append(self.system.run(what, "why", str(number)))
            return words in said[-1]

        try:
            wait_until(told, f"{what} why {number} says {words!r}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {said[-1]}") from None

    def show(self, *words: str) -> str:
        """What a command prints, which is kept."""
        text = self.system.run(*words)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.told.append(Said(" ".join(["prodchain", *words]), at, text))
        return text

    # What is so

    def jobs(self, task: int, state: str | None = None) -> list[dict[str, Any]]:
        """A task's jobs, the first made first."""
        words = ["job", "ls", "--task", str(task), "--limit", "1000", *(["--state", state] if state else [])]
        found: list[dict[str, Any]] = self.system.json(*words)["items"]
        return sorted(found, key=lambda job: int(job["id"]))

    def task(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.system.json("task", "show", str(number))
        return found

    def done(self, *tasks: int, timeout_s: float = 120) -> None:
        for number in tasks:

            def over(number: int = number) -> bool:
                return self.task(number)["state"] in ("done", "finished", "failed", "aborted", "exhausted")

            wait_until(over, f"task {number} ends: {self.system.run('task', 'why', str(number))}", timeout_s)
            task = self.task(number)
            assert task["state"] == "done", f"{task['state']}: {task['reason']}{self.system.logs()}"

    def queue(self, name: str) -> dict[str, Any]:
        (found,) = [queue for queue in self.system.json("queue", "ls")["items"] if queue["name"] == name]
        return found


@contextmanager
def three_sites(home: Path) -> Iterator[Sites]:
    """A system that is up, with pilots at TIER1 (three), UNI and HPC (two each); HPC has no software."""
    with ExitStack() as stack:
        server = stack.enter_context(rclone_webdav())
        port = stack.enter_context(slow_link(int(server.server.rpartition(":")[2]), LINK_BYTES_S))
        url = f"http://127.0.0.1:{port}/data"
        urls = {
            "TIER1-DISK": f"file://{home}/storage/tier1",
            "UNI-DISK": url,
            "HPC-DISK": f"file://{home}/storage/hpc",
        }
        folders = {"TIER1-DISK": home / "storage/tier1", "UNI-DISK": server.folder, "HPC-DISK": home / "storage/hpc"}
        made = Sites(System(home), {}, {}, urls, folders, stack)
        (home / "prodchain.toml").write_text(SETTINGS)
        (home / "sites.toml").write_text(SITES.format(url=url))
        for queue in ("TIER1-BATCH", "UNI-BATCH"):
            made.install(queue)
        made.software("HPC-BATCH").parent.mkdir(exist_ok=True)
        try:
            made.system.up()
            for queue, pilots in (("TIER1-BATCH", 3), ("UNI-BATCH", 2), ("HPC-BATCH", 2)):
                for number in range(1, pilots + 1):
                    made.start_pilot(queue, number)
            yield made
        finally:
            made.system.remove()
