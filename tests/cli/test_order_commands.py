"""Commands that give orders, against the broker's own server."""

import json
from pathlib import Path

import pytest

from prodchain.broker.client import Client

from .conftest import Run

SITES = """
home = "A-DISK"
[site.A.storage.A-DISK]
url = "file:storage/a"
[site.A.queue.A-BATCH]
storage = "A-DISK"
[site.B.storage.B-DISK]
url = "file:storage/b"
[site.B.queue.B-BATCH]
storage = "B-DISK"
"""
TASK = {
    "step": "evgen",
    "output": "user.ada.zmumu.EVNT.v1",
    "command": ["Gen_tf.py", "{events}", "{output}"],
    "events": 100,
    "events_per_job": 25,
}


@pytest.fixture
def task(real_broker: str, run: Run, tmp_path: Path) -> int:
    """A task of ada's; no agents run."""
    (tmp_path / "sites.toml").write_text(SITES)
    assert run("site", "apply", "sites.toml").code == 0
    with Client.from_settings() as client:
        return int(client.submit_task(TASK)["id"])


def test_orders_are_given_tried_and_found_in_the_journal(task: int, run: Run) -> None:
    assert run("task", "pause", task, "-n").out == f"task {task}\tstate\tregistered\tpaused\n"
    assert run("task", "pause", task, "-r", "bad release").out == f"task {task}\tstate\tregistered\tpaused\n"
    assert run("task", "pause", task).err == f"task {task} is paused already: nothing changes\n"
    assert run("task", "resume", task).code == 0
    ran = run("task", "set", task, "memory_mb=4000", "sites=A,B-BATCH", "priority=5")
    assert ran.out.splitlines() == [
        f"task {task}\tmemory_mb\t1000\t4000",
        f"task {task}\tsites\t\tA,B-BATCH",
        f"task {task}\tpriority\t1000\t5",
    ]
    assert run("task", "set", task, "files_per_job=none").err.startswith(f"task {task} asks for that already")
    assert "files_per_job" in run("task", "set", task, "files_per_job=5").err
    assert run("task", "set", task).code == run("task", "set", "priority=3").code == run("task", "set", "x").code == 2
    assert run("task", "reassign", task, "--to", "NOWHERE").code == 2
    assert run("task", "finish", task).code == 1
    assert run("task", "retry", task).code == 1
    assert run("task", "kill", task, "--yes").code == 0
    lines = [line.split("\t")[1:] for line in run("journal", "--object", f"task {task}").out.splitlines()]
    assert [line[1] for line in lines] == ["kill", "set", "resume", "pause"]
    assert lines[-1] == [
        "user:ada",
        "pause",
        f"task {task}",
        "state registered -> paused",
        "",
        "bad release",
    ]
    found = json.loads(run("journal", "--by", "ada", "--verb", "set", "--json").out)["items"]
    assert [each["detail"]["changes"]["priority"] for each in found] == [[1000, 5]]


def test_several_tasks_are_all_steered_or_none(task: int, run: Run) -> None:
    with Client.from_settings() as client:
        other = client.submit_task(TASK | {"output": "user.ada.ztautau.EVNT.v1"})["id"]
    assert run("task", "pause", task, 1, other).code == 3
    assert run("journal").out == ""
    ran = run("task", "pause", task, other, "--json")
    assert [each["object"] for each in json.loads(ran.out)["items"]] == [f"task {task}", f"task {other}"]


def test_queues_are_drained_and_brought_back(task: int, run: Run) -> None:
    assert run("queue", "drain", "A-BATCH", "-r", "new kernel").out == "queue A-BATCH\tstatus\tonline\tdrain\n"
    shown = run("queue", "show", "A-BATCH").out
    assert "status\tdrain\n" in shown and "because\tdrain, ordered by root: new kernel\n" in shown
    assert run("queue", "offline", "A-BATCH", "--dry-run").out == "queue A-BATCH\tstatus\tdrain\toffline\n"
    assert run("queue", "online", "A-BATCH").out == "queue A-BATCH\tstatus\tdrain\tonline\n"
    assert run("queue", "drain", "NOWHERE").code == 3


def test_groups_and_quotas_of_work(task: int, run: Run) -> None:
    assert run("group", "add", "higgs", "lea", "--leads").out == "group higgs\tlea\t\tleader\n"
    assert run("group", "add", "higgs", "ada").code == 0
    assert run("group", "ls", "--user", "ada").out == "higgs\tlea\tada\n"
    assert run("group", "remove", "higgs", "lea").code == 0
    assert run("group", "show", "higgs").out == "group\thiggs\nleaders\t\nmembers\tada\n"
    assert run("group", "show", "susy").code == 3

    ran = run("quota", "set", "ada", "--running", 200, "--core-hours", "5e4", "--days", 7)
    assert ran.out == "user:ada\trunning\t\t200\nuser:ada\tcore_hours\t\t50000.0\nuser:ada\tdays\t30\t7\n"
    run("quota", "set", "ada", "A-DISK", "5kB")
    assert run("quota", "show", "ada").out.splitlines() == [
        "ada\tA-DISK\t5000\t0\t0\t5000",
        "user:ada\tcores in use\t200\t0\t200",
        "user:ada\tcore hours in 7 days\t50000.0\t0.0\t50000.0",
    ]
    assert run("quota", "set", "group:higgs", "--queued", "many").code == 2
    assert run("quota", "set", "group:higgs").code == run("quota", "set", "ada", "A-DISK").code == 2
    ran = run("quota", "set", "group:higgs", "A-DISK", "0")
    assert ran.err == "group:higgs has 0 B at A-DISK, 0 B are used\n"
    shown = run("quota", "show", "group:higgs")
    assert shown.out == "group:higgs\tA-DISK\t0\t0\t0\t0\n"
    assert shown.err.startswith("quota of group:higgs: 0 B of 0 B at A-DISK are used; it goes on when")
    for limit in (("A-DISK", "5kB"), ("--running", 5)):
        refused = run("quota", "set", "group:higs", *limit)
        assert (refused.code, "did you mean higgs?" in refused.err) == (3, True)
    assert run("quota", "set", "group:higgs", "A-DISC", "5kB").code == 3
    assert run("quota", "set", "user:*", "A-DISK", "5kB").code == 2
    run("quota", "set", "user:*", "--running", 10)
    assert run("quota", "show", "bob").out == "user:* (each user)\tcores in use\t10\t\t\n"


def test_tokens_are_listed_and_withdrawn(task: int, run: Run) -> None:
    run("token", "create", "--subject", "bob", "--out", "bob.token")
    [line] = run("token", "ls", "--subject", "bob").out.splitlines()
    name = line.split("\t")[0]
    assert run("token", "revoke", name, "-r", "lost").out == f"token {name}\ttoken\tuser token of bob\t\n"
    assert run("token", "ls", "--subject", "bob").out == ""
    assert run("token", "revoke", name).code == 3
