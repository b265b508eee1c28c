"""The whole system as its user starts it: the installed program in a home of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prodchain.broker.client import Client
from prodchain.cli.local import postgres

PROGRAM = Path(sys.executable).with_name("prodchain")
KILLER = Path(__file__).with_name("killer")
CHAIN = "prodchain.flows.production:zmumu"
DATASETS = "mc26_13p6TeV.700001.Zmumu"


@dataclass
class System:
    home: Path
    killing: bool = False

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PRODCHAIN_", "PREFECT_"))}
        if self.killing:
            kept |= {"PYTHONPATH": str(KILLER), "KILLER_FOLDER": str(self.home / "killer")}
        return kept

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command; what it says is in the logs of the home."""
        with (self.home / "logs" / f"test-{words[0]}.log").open("ab") as log:
            command = [PROGRAM, *words, "--home", str(self.home)]
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)

    def run(self, *words: str, timeout_s: float = 480, code: int = 0) -> str:
        """Run a command to its end; the test fails with what it said if it ends otherwise."""
        done = subprocess.run(
            [PROGRAM, *words, "--home", str(self.home)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}{self.logs()}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))

    def up(self) -> None:
        if self.killing:
            (self.home / "killer").mkdir(parents=True, exist_ok=True)
        self.run("up", "--detach")

    def remove(self) -> None:
        """Stop everything; no database is left behind, wherever it is."""
        self.run("down")
        postgres.start(postgres.data_folder(self.home)).stop(remove=True)

    def client(self) -> Client:
        port = json.loads((self.home / "run" / "server.json").read_text())["port"]
        token = (self.home / "credentials" / "user.token").read_text().strip()
        return Client(f"http://127.0.0.1:{port}", token)

    def arm(self, point: str) -> None:
        """Let the next process that reaches the point end there by SIGKILL."""
        (self.home / "killer" / "fired").unlink(missing_ok=True)
        waiting = self.home / "killer" / "waiting"
        waiting.write_text(point)
        waiting.rename(self.home / "killer" / "armed")

    @property
    def fired(self) -> bool:
        return (self.home / "killer" / "fired").exists()

    def logs(self, lines: int = 15) -> str:
        logs = sorted((self.home / "logs").glob("*.log"))
        return "".join(f"\n--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-lines:]) for log in logs)


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 240) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(0.3)


def dataset(step: str, tag: str) -> str:
    return f"{DATASETS}.{step}.{tag}"


def parameters(**values: object) -> Sequence[str]:
    return [word for key, value in values.items() for word in ("-p", f"{key}={value}")]
