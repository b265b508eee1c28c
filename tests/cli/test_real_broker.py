"""The commands against the broker's own server and database."""

import json
import zlib
from pathlib import Path

import pytest

from prodchain.broker.client import ApiError, Client

from .conftest import Run

SITES = """
home = "A-DISK"
[site.A]
description = "home"
[site.A.storage.A-DISK]
url = "file:storage/a"
[site.A.queue.A-BATCH]
storage = "A-DISK"
"""
NAME = "user.ada.zmumu.NTUP.v1"
TASK = {
    "step": "evgen",
    "output": "mc26.700001.Z.evgen.EVNT.v1",
    "command": ["Gen_tf.py", "{output}"],
    "events": 100,
    "events_per_job": 10,
}


@pytest.fixture
def sites(real_broker: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "sites.toml").write_text(SITES)
    assert run("site", "apply", "sites.toml").code == 0


def test_sites_are_applied_and_shown(sites: None, run: Run) -> None:
    assert run("site", "apply", "sites.toml").err == "nothing changes: the sites are what the file says\n"
    assert run("site", "ls").out == "A\tA-DISK\tA-BATCH\t\thome\n"
    assert run("queue", "show", "A-BATCH").out.startswith("name\tA-BATCH\nsite\tA\nstatus\tonline\n")
    assert run("pilot", "ls").out == ""


@pytest.mark.parametrize(
    ("command", "about", "hint"),
    [
        ("job ls --task 99", "task 99", "see `prodchain task ls`"),
        ("job ls --queue A-BATHC", "queue A-BATHC", "did you mean A-BATCH?"),
        ("job ls --site NOWHERE", "site NOWHERE", "see `prodchain site ls`"),
        ("transfer ls --at A-DISC --state active", "storage A-DISC", "did you mean A-DISK?"),
        ("subscription ls --at NOWHERE", "storage NOWHERE", "`prodchain storage ls` lists the storages"),
        ("ls --at NOWHERE", "NOWHERE", "`prodchain storage ls` names them"),
        ("quota show group:higgs", "group higgs", "see `prodchain group ls`"),
        ("storage test A-DISC", "A-DISC", "did you mean A-DISK?"),
        ("storage audit A-DISC", "A-DISC", "did you mean A-DISK?"),
        ("queue drain A-BATHC", "queue A-BATHC", "did you mean A-BATCH?"),
    ],
)
def test_a_thing_that_is_not_there_is_no_empty_list(
    sites: None, run: Run, command: str, about: str, hint: str
) -> None:
    ran = run(*command.split())
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines()[1:] == [f"object: {about}", f"do: {hint}"]


@pytest.mark.parametrize("command", ["job ls --queue A-BATCH --site A", "transfer ls --at A-DISK", "job ls"])
def test_a_list_of_a_thing_that_has_none_is_empty(sites: None, run: Run, command: str) -> None:
    assert run(*command.split()) == (0, "", "")


def test_what_is_put_is_listed_shown_and_fetched(sites: None, run: Run, tmp_path: Path) -> None:
    files = [tmp_path / f"{letter}.root" for letter in "abc"]
    for file in files:
        file.write_bytes(file.name.encode() * 1000)
    assert "0 were there already" in run("put", *files, "--dataset", NAME, "--events", 7).err
    assert "3 were there already" in run("put", *files, "--dataset", NAME, "--events", 7).err
    assert run("ls", "user*NTUP*", "-l").out == f"{NAME}\tuser\topen\t3\t21\t18000\tA\n"
    lines = [line.split("\t") for line in run("dataset", "files", NAME).out.splitlines()]
    assert [line[0] for line in lines] == ["a.root", "b.root", "c.root"]
    assert json.loads(run("get", NAME, "out", "--json").out)["fetched"] == 3
    assert all((tmp_path / "out" / file.name).read_bytes() == file.read_bytes() for file in files)
    assert json.loads(run("get", NAME, "out", "--json").out)["present"] == 3
    assert run("dataset", "close", NAME).code == 0
    assert "state\tclosed\n" in run("dataset", "show", NAME).out


def test_a_corrupt_replica_is_named_with_expected_and_actual(sites: None, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.root").write_bytes(b"good")
    run("put", "a.root", "--dataset", NAME)
    [stored] = list((tmp_path / "storage").rglob("a.root"))
    stored.write_bytes(b"evil")
    ran = run("get", NAME, "out")
    assert ran.code == 1
    wanted, got = (f"{zlib.adler32(content):08x}" for content in (b"good", b"evil"))
    assert f"failed: a.root: A-DISK: expected adler32 {wanted}, got {got}\n" in ran.err


def test_a_task_is_submitted_shown_explained_and_killed(sites: None, run: Run) -> None:
    with Client.from_settings() as client:
        task = client.submit_task(TASK)
        assert client.submit_task(TASK)["id"] == task["id"]
        with pytest.raises(ApiError) as caught:
            client.submit_task({**TASK, "events": 200})
        assert caught.value.code == "task-conflict"
    number = task["id"]
    assert run("task", "ls").out.startswith(f"{number}\tevgen\t")
    assert f"output\tmc26:{TASK['output']}\n" in run("task", "show", number).out
    assert run("task", "why", number).out.startswith(f"task {number} is ")
    assert run("task", "story", number).out.count("\n") >= 1
    assert run("task", "kill", number).code == 0
    assert run("task", "ls", "--state", "aborted").out.startswith(str(number))
    assert run("job", "ls", "--task", number).code == 0
    assert f"made by task\t{number}\n" in run("dataset", "show", TASK["output"]).out


def test_exit_codes_follow_the_brokers_answers(sites: None, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.root").write_bytes(b"x")
    run("put", "a.root", "--dataset", NAME)
    near = run("dataset", "show", NAME.replace("zmumu", "zmumi"))
    assert near.code == 3
    assert NAME in near.err
    assert run("task", "show", 1).code == run("job", "why", 1).code == 3
    assert run("ls", "--kind", "nonsense", "*").code == 2
    (tmp_path / "sites.toml").write_text("home = 3")
    assert run("site", "apply", "sites.toml").code == 2
    credentials = tmp_path / "home" / "credentials"
    assert run("token", "create", "--subject", "bob", "--out", credentials / "bob.token").code == 0
    (credentials / "user.token").write_text((credentials / "bob.token").read_text())
    assert run("dataset", "close", NAME).code == 4
    (credentials / "user.token").write_text("pc_unknown")
    assert "[token-unknown]" in run("dataset", "close", NAME).err
    (credentials / "user.token").unlink()
    assert "[token-missing]" in run("dataset", "close", NAME).err


def test_a_storage_is_tested_and_audited(sites: None, run: Run, tmp_path: Path) -> None:
    tested = run("storage", "test", "A-DISK")
    assert (tested.code, tested.out.splitlines()[0].split("\t")[:2]) == (0, ["put", "ok"])
    (tmp_path / "a.root").write_bytes(b"x" * 1000)
    assert run("put", "a.root", "--dataset", NAME).code == 0
    assert run("storage", "audit", "A-DISK").code == 0
    (stored,) = (path for path in (tmp_path / "storage").rglob("a.root"))
    stored.unlink()
    (tmp_path / "storage" / "a" / "stranger.txt").write_text("?")
    found = run("storage", "audit", "A-DISK")
    assert found.code == 1
    assert "1 dark, 1 lost" in found.err
    assert "dark\tstranger.txt\t1\t" in found.out
    assert run("site", "history").out.split("\t")[2] == "root"


def test_shares_are_tried_applied_and_listed(sites: None, run: Run, tmp_path: Path) -> None:
    (tmp_path / "shares.toml").write_text("[share.production]\nvalue = 3\n[share.analysis]\nvalue = 1\n")
    tried = run("share", "apply", "shares.toml", "--dry-run")
    assert "production.target_percent\t80.0\t75.0\n" in tried.out
    assert tried.err == "nothing was changed: this was a dry run\n"
    assert json.loads(run("share", "apply", "shares.toml", "--json").out)["changes"]["production.value"] == [
        80.0,
        3.0,
    ]
    assert "nothing changes" in run("share", "apply", "shares.toml").err
    assert "analysis.target_percent\t25.0\t50.0\n" in run("share", "set", "analysis", 3).out
    assert run("share", "ls").out.splitlines()[0] == "production\t3.0\t50.0 %\t0.0 %\t0\t0\t0.0\t"
    assert run("share", "set", "none", 3).code == 3


def test_rules_for_failed_jobs_are_tried_and_changed(sites: None, run: Run, tmp_path: Path) -> None:
    assert run("retry", "test", "--message", "payload was killed by signal 9 (SIGKILL)").out == (
        "rule\tout-of-memory\ntried again\tyes\n"
        "what follows\trule out-of-memory; attempt 2 of 3 follows; with 1500 MB instead of 1000\n"
    )
    shown = run("retry", "show", "--toml").out
    (tmp_path / "rules.toml").write_text(shown + '\n[rule.mine]\nmatch = "x"\nlimit = 1\n')
    tried = run("retry", "apply", "rules.toml", "--dry-run")
    assert (tried.out, tried.err) == ("mine\tnew\n", "nothing was changed: this was a dry run\n")
    assert run("retry", "apply", "rules.toml", "-r", "a test").out == "mine\tnew\n"
    assert run("retry", "apply", "rules.toml").err == "the same rules are in force already\n"
    assert run("retry", "show").out.splitlines()[-1] == "mine\tlimit = 1\t"
    assert run("retry", "show", "-l").out.splitlines()[-1] == "mine\tx\t\tlimit = 1\t"
    (tmp_path / "rules.toml").write_text("[rule.mine]\nlimit = 0")
    refused = run("retry", "apply", "rules.toml")
    assert refused.code == 2 and "rules.toml:2: rule mine: limit" in refused.err
