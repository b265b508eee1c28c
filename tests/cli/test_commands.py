"""What the single commands show and do."""

import json
import threading
import time
from pathlib import Path

import pytest

from prodchain.cli.commands import job as job_command

from .conftest import Run
from .other_end import JOB, TASK, Broker, job_view

NAME = "mc26.1.Z.reco.AOD.v1"


@pytest.fixture
def datasets(other_end: Broker) -> Broker:
    dataset = other_end.add_dataset(NAME)
    for number in range(3):
        other_end.add_file(dataset, f"f{number}.root", b"x" * 1000, ("A-DISK", "B-DISK"))
    other_end.add_dataset("mc26.1.Z.sim.HITS.v1", step="sim", format="HITS")
    other_end.add_dataset(f"{NAME}_dis12", kind="dispatch")
    return other_end


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["mc26*AOD*"], [NAME]),
        ([], [NAME, "mc26.1.Z.sim.HITS.v1"]),
        (["--step", "sim"], ["mc26.1.Z.sim.HITS.v1"]),
        (["--format", "AOD", "--all"], [NAME, f"{NAME}_dis12"]),
        (["--kind", "dispatch", "--all"], [f"{NAME}_dis12"]),
        (["--limit", "1"], [NAME]),
        ([NAME], [NAME]),
        ([f"mc26:{NAME}"], [NAME]),
    ],
)
def test_ls_finds_datasets(datasets: Broker, run: Run, options: list[str], names: list[str]) -> None:
    assert run("ls", *options).out.splitlines() == names


def test_ls_names_a_dataset_with_its_scope_where_the_name_does_not_imply_it(datasets: Broker, run: Run) -> None:
    datasets.add_dataset("zmumu.v1", scope="user.ada")
    assert "user.ada:zmumu.v1" in run("ls").out.splitlines()


def test_ls_in_detail_has_files_events_bytes_and_sites_in_one_request(datasets: Broker, run: Run) -> None:
    assert run("ls", "-l", "mc26*AOD*").out == f"{NAME}\tproduction\topen\t3\t30\t3000\tA,B\n"
    assert datasets.requests == ["GET /api/datasets"]


def test_ls_says_where_a_list_that_is_cut_goes_on(datasets: Broker, run: Run) -> None:
    ran = run("ls", "--limit", "1")
    assert "there are more: go on with --after 1, or list all with --limit 0" in ran.err
    assert run("ls", "--after", "1").out == "mc26.1.Z.sim.HITS.v1\n"
    assert json.loads(run("ls", "--limit", "1", "--json").out)["next"] == 1
    assert json.loads(run("ls", "--limit", "0", "--json").out)["next"] is None


def test_ls_with_files_lists_the_files_of_each_dataset(datasets: Broker, run: Run) -> None:
    lines = [line.split("\t") for line in run("ls", "--files", "mc26*AOD*").out.splitlines()]
    assert [line[:3] for line in lines] == [[NAME, f"f{number}.root", "1000"] for number in range(3)]


def test_dataset_show_has_lines_to_copy(datasets: Broker, run: Run, terminal: None) -> None:
    out = run("dataset", "show", NAME).out
    assert f"prodchain get {NAME}" in out
    assert str(TASK) in out
    assert "complete" in out


def test_dataset_show_in_a_pipe_says_where_the_files_are(datasets: Broker, run: Run) -> None:
    out = run("dataset", "show", NAME).out
    assert "replicas\tA-DISK 3/3,B-DISK 3/3\n" in out
    assert f"read by shell\tprodchain get {NAME}\n" in out


def test_dataset_files_lists_all_pages(datasets: Broker, run: Run) -> None:
    lines = [line.split("\t") for line in run("dataset", "files", NAME).out.splitlines()]
    assert [line[0] for line in lines] == ["f0.root", "f1.root", "f2.root"]
    assert lines[0][1:3] == ["1000", "10"]
    assert lines[0][-1] == "A-DISK,B-DISK"


def test_dataset_close_closes(datasets: Broker, run: Run) -> None:
    assert "is closed with 3 files" in run("dataset", "close", NAME).err
    assert json.loads(run("dataset", "close", NAME, "--json").out)["state"] == "closed"


@pytest.mark.parametrize("kind", ["task", "job"])
def test_why_is_sentences_with_remedies_and_the_verdict_on_each_queue(other_end: Broker, run: Run, kind: str) -> None:
    assert run(kind, "why", JOB).out.splitlines() == [
        f"job {JOB} is defined",
        "no queue suits: memory.",
        "  do: ask for 2000 MB",
        "the least that would help (user): ask for 2000 MB",
        "  prodchain task set 10000001 memory_mb=2000",
        "A-BATCH\tmemory\toffers 2000 MB, needs 64000 MB\tmemory_mb <= 2000\t\t5000000",
        "B-BATCH\tsuits\tsuits\t\t1.5\t5000000",
    ]


def test_why_of_the_past_sends_the_time(other_end: Broker, run: Run) -> None:
    out = run("job", "why", JOB, "--at", "2026-11-22T10:00").out
    assert out.startswith(f"job {JOB} was defined at 2026-11-22 10:00:00 UTC")
    asked = json.loads(run("job", "why", JOB, "--at", "2026-11-22T10:00", "--json").out)
    assert asked["at"] == "2026-11-22T10:00:00+00:00"
    assert run("job", "why", JOB, "--at", "yesterday").code == 2


def test_why_on_a_terminal_has_a_table_of_verdicts(other_end: Broker, run: Run, terminal: None) -> None:
    out = run("job", "why", JOB).out
    assert "would run if" in out
    assert "memory_mb <= 2000" in out


def test_a_story_has_every_change_with_who_and_why(other_end: Broker, run: Run) -> None:
    lines = [line.split("\t") for line in run("job", "story", JOB).out.splitlines()]
    assert [line[2:5] for line in lines] == [["", "defined", "agent"], ["defined", "assigned", "agent"]]
    assert run("task", "story", TASK).out == run("job", "story", JOB).out


def test_kill_says_what_it_kills_and_asks_nobody_where_nobody_is(other_end: Broker, run: Run) -> None:
    tried = run("task", "kill", TASK, "--dry-run")
    assert tried.out == "task 10000001\tstate\trunning\taborted\ntask 10000001\tjobs\trunning\t1\n"
    assert tried.err == "nothing was changed: this was a dry run\n"
    assert other_end.task["state"] == "running"
    ran = run("task", "kill", TASK)
    assert ran.err == "kill task 10000001: state running -> aborted; jobs: 1 running\n"
    assert ran.out == tried.out
    assert run("job", "kill", JOB, "--yes").code == 0
    assert other_end.job["state"] == "cancelled"


@pytest.mark.parametrize(("answer", "state"), [("n\n", "running"), ("y\n", "aborted")])
def test_kill_asks_a_person(
    other_end: Broker, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, state: str
) -> None:
    monkeypatch.setattr("prodchain.cli.confirm.has_person", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answer == "y\n" or pytest.fail("not aborted"))
    if answer == "n\n":
        import typer

        def refuse(*_: object, **__: object) -> None:
            raise typer.Abort

        monkeypatch.setattr("typer.confirm", refuse)
    ran = run("task", "kill", TASK)
    assert (ran.code, other_end.task["state"]) == (0 if state == "aborted" else 1, state)


def test_a_log_is_printed_as_it_is(other_end: Broker, run: Run) -> None:
    assert run("job", "log", JOB).out == "first line\nsecond line\n"


def test_a_log_is_followed_until_the_job_has_ended(
    other_end: Broker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_command, "POLL_S", 0.02)

    def go_on() -> None:
        time.sleep(0.1)
        other_end.log += "third line, ε\n"
        time.sleep(0.1)
        other_end.log += "last line\n"
        other_end.job = job_view(state="finished")

    writer = threading.Thread(target=go_on)
    writer.start()
    ran = run("job", "log", "-f", JOB)
    writer.join()
    assert ran.out == "first line\nsecond line\nthird line, ε\nlast line\n"


def test_sites_queues_and_pilots_are_listed(other_end: Broker, run: Run) -> None:
    assert run("site", "ls").out == "SITE-A\tA-DISK\tA-BATCH\t\thome\n"
    assert run("queue", "ls").out == "A-BATCH\tonline\t1\t1\trunning=1\t\n"
    assert run("queue", "ls", "-l").out == (
        "A-BATCH\tSITE-A\tonline\t1\t1\t1\t2000000000\t3600\tA-DISK\trunning=1\t\n"
    )
    assert [line.split("\t")[0] for line in run("pilot", "ls").out.splitlines()] == ["p1"]
    assert [line.split("\t")[0] for line in run("pilot", "ls", "--all").out.splitlines()] == ["p1", "p0"]


def test_the_list_of_queues_fits_100_columns(
    other_end: Broker, run: Run, terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = run("queue", "ls").out.splitlines()
    assert out[0].split() == ["name", "status", "slots", "pilots", "jobs", "reason"]
    assert len(out) == 2, "nothing is folded"
    assert "storage" in run("queue", "ls", "-l").out.splitlines()[0].split()


def test_a_list_without_anything_says_so_to_a_person(other_end: Broker, run: Run, terminal: None) -> None:
    assert run("transfer", "ls") == (0, "", "there is none\n")


def test_a_site_is_shown_with_its_storages_and_queues(other_end: Broker, run: Run, terminal: None) -> None:
    out = run("site", "show", "SITE-A").out
    assert "file:/a" in out
    assert "A-BATCH" in out
    assert "2 GB" in out
    assert run("queue", "show", "A-BATCH").code == run("pilot", "show", "p1").code == 0


def test_sites_are_applied_as_administrator_from_the_files_folder(
    other_end: Broker, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "sites.toml").write_text("home = 'X'")
    dry = run("site", "apply", "sites.toml", "--dry-run")
    assert dry.out == f"would add queue X of {tmp_path}\n"
    assert "nothing was changed" in dry.err
    assert run("site", "apply", "sites.toml").out == f"added queue X of {tmp_path}\n"


def test_a_token_is_written_for_its_owner_only_and_never_over_another(
    other_end: Broker, run: Run, tmp_path: Path
) -> None:
    assert run("token", "create", "--subject", "ada").out == "new-user\n"
    ran = run("token", "create", "--subject", "ada", "--out", "t")
    assert (ran.code, ran.out) == (0, "")
    assert (tmp_path / "t").read_text() == "new-user\n"
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o600
    assert run("token", "create", "--subject", "bob", "--out", "t").code == 4
    assert sum("tokens" in request for request in other_end.requests) == 2
