"""Datasets come here and go there whole, verified, and never twice."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from prodchain.broker.client import Client
from prodchain.cli import fetch as fetching

from .conftest import Run
from .other_end import Broker, Document

NAME = "mc26.1.Z.reco.AOD.v1"


class Data(NamedTuple):
    dataset: Document
    paths: list[Path]


@pytest.fixture
def data(other_end: Broker) -> Data:
    dataset = other_end.add_dataset(NAME)
    dataset["state"] = "closed"
    return Data(dataset, [other_end.add_file(dataset, f"f{n}.root", bytes([n]) * 1000 * n) for n in range(1, 6)])


def add_replica(broker: Broker, data: Data, number: int, content: bytes) -> None:
    """One more replica of a file, the first to be tried."""
    name = data.paths[number].name
    path = broker.storage / "B-DISK" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    file = broker.files[data.dataset["did"]][number]
    file["replicas"].insert(0, {"storage": "B-DISK", "site": "B", "url": f"file:{path}"})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_get_brings_all_files_into_a_folder_of_the_datasets_name(data: Data, run: Run, tmp_path: Path) -> None:
    ran = run("get", NAME, "--json")
    assert ran.code == 0
    assert contents(tmp_path / NAME) == {path.name: path.read_bytes() for path in data.paths}
    summary = json.loads(ran.out)
    assert (summary["files"], summary["fetched"], summary["present"], summary["bytes"]) == (5, 5, 0, 15_000)


def test_a_second_get_moves_nothing_and_counts_what_is_there(data: Data, run: Run) -> None:
    run("get", NAME, "out")
    summary = json.loads(run("get", NAME, "out", "--json").out)
    assert (summary["fetched"], summary["present"], summary["bytes"]) == (0, 5, 0)


def test_a_file_that_was_damaged_here_is_fetched_again(data: Data, run: Run, tmp_path: Path) -> None:
    run("get", NAME, "out")
    (tmp_path / "out" / "f2.root").write_bytes(b"?" * 2000)
    summary = json.loads(run("get", NAME, "out", "--json").out)
    assert (summary["fetched"], summary["present"]) == (1, 4)
    assert (tmp_path / "out" / "f2.root").read_bytes() == data.paths[1].read_bytes()


def test_a_get_that_was_killed_goes_on_where_it_was(data: Data, run: Run, other_end: Broker, tmp_path: Path) -> None:
    file = other_end.files[data.dataset["did"]][4]
    pipe = tmp_path / "never-ends"
    os.mkfifo(pipe)  # a replica that gives nothing and never ends
    file["replicas"][0]["url"] = f"file:{pipe}"
    program = subprocess.Popen([sys.executable, "-m", "prodchain.cli", "get", NAME, "out"], env=os.environ.copy())
    expected = {f"f{n}.root" for n in range(1, 5)}
    until = time.monotonic() + 20
    while not expected <= {path.name for path in (tmp_path / "out").glob("*")} and time.monotonic() < until:
        time.sleep(0.02)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert "f5.root" not in contents(tmp_path / "out")
    file["replicas"][0]["url"] = f"file:{data.paths[4]}"
    summary = json.loads(run("get", NAME, "out", "--json").out)
    assert (summary["present"], summary["fetched"], summary["failed"]) == (4, 1, [])
    assert contents(tmp_path / "out") == {path.name: path.read_bytes() for path in data.paths}


def test_ctrl_c_says_how_to_go_on_and_exits_130(data: Data, other_end: Broker, tmp_path: Path) -> None:
    pipe = tmp_path / "slow"
    os.mkfifo(pipe)
    other_end.files[data.dataset["did"]][4]["replicas"][0]["url"] = f"file:{pipe}"
    program = subprocess.Popen(
        [sys.executable, "-m", "prodchain.cli", "get", NAME, "out"], env=os.environ.copy(), stderr=subprocess.PIPE
    )
    with pipe.open("wb"):  # opens when the program has come to this file
        program.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, text = program.communicate(timeout=20)
    assert f"continue with: prodchain get {NAME} out" in text.decode()
    assert program.returncode == 130


@pytest.mark.parametrize("bad", [b"\x03" * 2999 + b"!", b"\x03" * 10, b"\x03" * 5000], ids=["wrong", "short", "long"])
def test_a_bad_replica_is_passed_over_for_the_next_one(
    data: Data, run: Run, other_end: Broker, tmp_path: Path, bad: bytes
) -> None:
    add_replica(other_end, data, 2, bad)
    ran = run("get", NAME, "out")
    assert ran.code == 0
    assert "bad replica of f3.root: B-DISK: expected" in ran.err
    assert (tmp_path / "out" / "f3.root").read_bytes() == data.paths[2].read_bytes()


def test_a_replica_that_is_gone_is_passed_over_for_one_that_is_here(data: Data, run: Run, other_end: Broker) -> None:
    add_replica(other_end, data, 0, b"")
    (other_end.storage / "B-DISK" / "f1.root").unlink()
    ran = run("get", NAME, "out")
    assert (ran.code, "B-DISK" in ran.err) == (0, False), "it may be a folder of another machine"
    only = run("get", NAME, "other", "--from", "B-DISK")
    assert (only.code, "f1.root: B-DISK: there is no " in only.err) == (1, True)


def test_the_source_of_a_get_can_be_chosen(data: Data, run: Run, other_end: Broker) -> None:
    add_replica(other_end, data, 2, data.paths[2].read_bytes())
    ran = run("get", NAME, "out", "--from", "B-DISK", "--match", "f3*")
    assert (ran.code, ran.err.count("failed")) == (0, 0)
    none = run("get", NAME, "out", "--from", "B-DISK", "--match", "f1*")
    assert (none.code, "failed: f1.root: there is no replica at B-DISK" in none.err) == (1, True)
    wrong = run("get", NAME, "out", "--from", "C-DISK")
    assert (wrong.code, "C-DISK" in wrong.err) == (3, True)


def test_a_file_without_a_good_replica_exits_1_and_says_what_was_wrong_with_each(
    data: Data, run: Run, other_end: Broker, tmp_path: Path
) -> None:
    add_replica(other_end, data, 2, b"\x03" * 2999 + b"!")
    data.paths[2].write_bytes(b"\x03" * 10)
    wanted = other_end.files[data.dataset["did"]][2]["adler32"]
    ran = run("get", NAME, "out")
    assert ran.code == 1
    reason = f"f3.root: B-DISK: expected adler32 {wanted}, got 27dc2347; A-DISK: expected 3000 bytes, got 10"
    assert f"failed: {reason}\n" in ran.err
    assert "1 of 5 files could not be had" in ran.err
    whole = {name for name in contents(tmp_path / "out") if not name.endswith(".part")}
    assert whole == {"f1.root", "f2.root", "f4.root", "f5.root"}
    assert "failed\t1\n" in ran.out


def test_a_file_that_is_nowhere_exits_1(data: Data, run: Run, other_end: Broker) -> None:
    other_end.files[data.dataset["did"]][0]["replicas"] = []
    ran = run("get", NAME, "out")
    assert (ran.code, "failed: f1.root: there is no replica\n" in ran.err) == (1, True)


def test_a_folder_that_cannot_be_made_is_refused_before_anything_moves(data: Data, run: Run, tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file")
    ran = run("get", NAME, tmp_path / "occupied" / "out")
    assert (ran.code, "cannot write there" in ran.err) == (4, True)


def test_a_disk_too_small_is_refused_before_anything_moves(
    data: Data, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=14_000)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage)
    ran = run("get", NAME, "out")
    assert ran.code == 1
    assert "the files need 15 kB, and 14 kB are free" in ran.err
    assert contents(tmp_path / "out") == {}


def test_a_disk_that_fills_up_stops_the_get_and_keeps_what_is_whole(data: Data, run: Run, tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from prodchain.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))\n"  # no file may grow beyond
        f"sys.exit(main(['get', {NAME!r}, 'out', '-j', '1']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, "no room: File too large" in done.stderr) == (1, True)
    whole = {name for name in contents(tmp_path / "out") if not name.endswith(".part")}
    assert whole == {"f1.root", "f2.root"}
    summary = json.loads(run("get", NAME, "out", "--json").out)
    assert summary["bytes"] < 12_000, "what had come of f3 need not come again"


def test_two_gets_into_one_folder_do_not_mix(data: Data, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "f1.root.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        ran = run("get", NAME, "out")
    assert (ran.code, "another program is writing" in ran.err) == (1, True)
    assert run("get", NAME, "out").code == 0


def test_the_demo_can_fetch_without_a_terminal(data: Data, other_end: Broker, tmp_path: Path) -> None:
    with Client(other_end.url, "user-token") as client:
        summary = fetching.fetch(client, NAME, tmp_path / "out")
    assert (summary.fetched, summary.failed, summary.directory) == (5, [], str(tmp_path / "out"))


BIG = 3_000_000


@pytest.fixture
def big(other_end: Broker) -> Path:
    """One file of a dataset of its own, larger than what is read at once."""
    dataset = other_end.add_dataset("mc26.2.Z.reco.AOD.v1")
    dataset["state"] = "closed"
    return other_end.add_file(dataset, "big.root", bytes(range(256)) * (BIG // 256))


def half(folder: Path, path: Path, wrong: bool = False) -> None:
    """As a killed get leaves it."""
    folder.mkdir()
    (folder / "big.root.part").write_bytes(b"?" * 1_000_000 if wrong else path.read_bytes()[:1_000_000])


def test_a_file_that_was_broken_off_goes_on_at_the_byte_where_it_was(big: Path, run: Run, tmp_path: Path) -> None:
    half(tmp_path / "out", big)
    summary = json.loads(run("get", "mc26.2.Z.reco.AOD.v1", "out", "--json").out)
    size = big.stat().st_size
    assert (summary["bytes"], summary["resumed"]) == (size - 1_000_000, 1_000_000)
    assert contents(tmp_path / "out") == {"big.root": big.read_bytes()}


def test_a_beginning_that_is_wrong_is_thrown_away(big: Path, run: Run, tmp_path: Path) -> None:
    half(tmp_path / "out", big, wrong=True)
    assert run("get", "mc26.2.Z.reco.AOD.v1", "out").code == 0
    assert contents(tmp_path / "out") == {"big.root": big.read_bytes()}


def test_another_copy_goes_on_where_the_first_one_broke_off(
    big: Path, run: Run, other_end: Broker, tmp_path: Path
) -> None:
    (file,) = other_end.files["mc26:mc26.2.Z.reco.AOD.v1"]
    broken = tmp_path / "broken.root"
    broken.write_bytes(big.read_bytes()[:2_000_000])
    file["replicas"].insert(0, {"storage": "B-DISK", "site": "B", "url": f"file:{broken}"})
    summary = json.loads(run("get", "mc26.2.Z.reco.AOD.v1", "out", "--json").out)
    assert (summary["fetched"], summary["bytes"]) == (1, big.stat().st_size)


def test_get_takes_the_files_that_fit_a_pattern(data: Data, run: Run, tmp_path: Path) -> None:
    summary = json.loads(run("get", NAME, "out", "--match", "f[24].root", "--json").out)
    assert (summary["files"], summary["fetched"]) == (2, 2)
    assert set(contents(tmp_path / "out")) == {"f2.root", "f4.root"}
    ran = run("get", NAME, "out", "--match", "nothing*")
    assert (ran.code, "no file of the dataset fits" in ran.err) == (3, True)


def test_a_dataset_that_a_task_fills_is_had_in_part_if_that_is_what_is_wanted(data: Data, run: Run) -> None:
    data.dataset["state"] = "open"
    refused = run("get", NAME, "out")
    assert (refused.code, "still being filled: 5/4 files so far" in refused.err) == (1, True)
    ran = run("get", NAME, "out", "--partial")
    assert (ran.code, "still grows: 5/4 files so far" in ran.err) == (0, True)


def test_get_takes_the_first_files(data: Data, run: Run, tmp_path: Path) -> None:
    assert json.loads(run("get", NAME, "out", "--first", "2", "--json").out)["fetched"] == 2
    assert set(contents(tmp_path / "out")) == {"f1.root", "f2.root"}


# put


@pytest.fixture
def mine(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.root", tmp_path / "b.root"]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    return paths


def test_put_registers_the_files_with_their_events(other_end: Broker, run: Run, mine: list[Path]) -> None:
    ran = run("put", *mine, "--dataset", "mc26.2.Z.ntup.NTUP.v1", "--events", 50)
    assert ran.code == 0
    dataset = other_end.datasets["mc26:mc26.2.Z.ntup.NTUP.v1"]
    assert (dataset["files"], dataset["events"], dataset["kind"]) == (2, 100, "user")
    assert (other_end.storage / "A-DISK" / "a.root").read_bytes() == mine[0].read_bytes()


def test_files_are_put_with_remarks_that_a_list_of_files_shows(other_end: Broker, run: Run, mine: list[Path]) -> None:
    assert (
        run("put", str(mine[0]), "--dataset", "mc26.2.Z.ntup.NTUP.v1", "--meta", "by=ada", "--meta", "cut=3").code
        == 0
    )
    shown = json.loads(run("ls", "mc26.2.Z.ntup.NTUP.v1", "--files", "-l", "--json").out)
    assert [file["meta"] for file in shown["items"]] == [{"by": "ada", "cut": "3"}]
    assert run("ls", "mc26.2.Z.ntup.NTUP.v1", "--files", "-l").out.endswith("\t\tby=ada,cut=3\n")
    assert run("ls", "mc26.2.Z.ntup.NTUP.v1", "--files").out.endswith("\tA-DISK\n")


def test_what_was_put_comes_back_the_same(other_end: Broker, run: Run, mine: list[Path], tmp_path: Path) -> None:
    run("put", *mine, "--dataset", "mc26.2.Z.ntup.NTUP.v1", "--storage", "B-DISK")
    assert run("get", "mc26.2.Z.ntup.NTUP.v1", "back").code == 0
    assert contents(tmp_path / "back") == {path.name: path.read_bytes() for path in mine}


def test_a_put_that_was_repeated_changes_nothing(other_end: Broker, run: Run, mine: list[Path]) -> None:
    run("put", *mine, "--dataset", "mc26.2.Z.ntup.NTUP.v1")
    ran = run("put", *mine, "--dataset", "mc26.2.Z.ntup.NTUP.v1")
    assert (ran.code, "2 files at A-DISK, 2 were there already" in ran.err) == (0, True)
    assert other_end.datasets["mc26:mc26.2.Z.ntup.NTUP.v1"]["files"] == 2


def test_a_put_that_fails_halfway_registers_nothing_and_can_be_repeated(
    other_end: Broker, run: Run, mine: list[Path]
) -> None:
    blocked = other_end.storage / "A-DISK" / "b.root"
    (blocked / "in the way").mkdir(parents=True)
    ran = run("put", *mine, "--dataset", "mc26.2.Z.ntup.NTUP.v1")
    assert (ran.code, "nothing was registered" in ran.err) == (1, True)
    assert other_end.datasets == {}
    shutil.rmtree(blocked)
    assert run("put", *mine, "--dataset", "mc26.2.Z.ntup.NTUP.v1").code == 0


def test_a_repeated_put_names_each_file_by_the_same_guid(
    other_end: Broker, run: Run, mine: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Document] = []
    monkeypatch.setattr(other_end, "commit", lambda *, body, **_: asked.append(body) or (503, {}))
    for _ in range(2):
        assert run("put", *mine, "--dataset", "mc26.2.Z.ntup.NTUP.v1").code == 5
    assert len({json.dumps(body["files"]) for body in asked}) == 1


def test_two_files_of_one_name_are_refused(other_end: Broker, run: Run, mine: list[Path], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    twin = tmp_path / "sub" / "a.root"
    twin.write_text("x")
    assert run("put", mine[0], twin, "--dataset", "mc26.2.Z.ntup.NTUP.v1").code == 2


def test_a_file_that_is_not_there_exits_3_before_anything_is_asked_for(other_end: Broker, run: Run) -> None:
    assert run("put", "nowhere.root", "--dataset", "mc26.2.Z.ntup.NTUP.v1").code == 3
    assert other_end.requests == []


def test_a_dry_run_of_a_put_says_where_and_what_the_quota_leaves(
    other_end: Broker, run: Run, mine: list[Path]
) -> None:
    ran = run("put", *mine, "--dataset", "mc26.2.Z.ntup.NTUP.v1", "--dry-run")
    assert (ran.code, "2 files with" in ran.err, "of your quota there 1" in ran.err) == (0, True, True)
    assert not list(other_end.storage.rglob("a.root"))


def test_what_passed_this_machine_is_said(other_end: Broker, run: Run, mine: list[Path], tmp_path: Path) -> None:
    from ..storages.webdav import rclone_webdav

    with rclone_webdav(tmp_path) as server:
        (server.folder / "c.root").write_bytes(b"c" * 5000)
        ran = run("put", f"{server.url}/c.root", "--dataset", "mc26.2.Z.ntup.NTUP.v1")
        assert ran.code == 0, ran.err
    assert (other_end.storage / "A-DISK" / "c.root").read_bytes() == b"c" * 5000


def test_a_url_without_a_file_is_named(other_end: Broker, run: Run) -> None:
    ran = run("put", "file:///nowhere/x.root", "--dataset", "mc26.2.Z.ntup.NTUP.v1")
    assert (ran.code, "file:///nowhere/x.root" in ran.err or "/nowhere/x.root" in ran.err) == (3, True)
