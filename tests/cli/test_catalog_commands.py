"""Commands about data against the broker's own server: made, versioned, wished for, explained, verified, deleted."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run

SITES = """
home = "A-DISK"
[site.A.storage.A-DISK]
url = "file:storage/a"
capacity_gb = 1
[site.B.storage.B-DISK]
url = "file:storage/b"
"""
NAME = "user.ada.zmumu.NTUP.v1"


@pytest.fixture
def data(real_broker: str, run: Run, tmp_path: Path) -> Path:
    """A dataset of ada's with three files at A-DISK; the folder of its files."""
    (tmp_path / "sites.toml").write_text(SITES)
    assert run("site", "apply", "sites.toml").code == 0
    for letter in "abc":
        (tmp_path / f"{letter}.root").write_bytes(letter.encode() * 1000)
    assert run("put", "a.root", "b.root", "c.root", "--dataset", NAME, "--events", 10).code == 0
    return tmp_path / "storage" / "a"


def test_datasets_are_made_filled_closed_versioned_and_compared(data: Path, run: Run) -> None:
    best = "user.ada.best.v1"
    assert "is there, open" in run("dataset", "create", best, "--lifetime", "30d", "--meta", "why=test").err
    assert run("dataset", "add", best, "user.ada:a.root", "--dry-run").err == f"user.ada:{best} would have 1 files\n"
    assert run("dataset", "add", best, "user.ada:a.root").err == f"user.ada:{best} has 1 files\n"
    assert "would be closed" in run("dataset", "close", best, "-n").err
    assert "is closed with 1 files" in run("dataset", "close", best).err
    assert "is open as version 2 with 1 files" in run("dataset", "reopen-as-new-version", best).err
    run("dataset", "add", best, "user.ada:b.root")
    ran = run("dataset", "diff", f"{best}@1", best)
    assert ran.out == "+\tuser.ada:b.root\t1000\n"
    assert ran.err == "1 files added, 1 kB; 0 files removed, 0 B\n"
    assert run("ls", "--versions", "user.ada.best*").out.split() == [f"{best}@1", best]
    shown = dict(line.split("\t") for line in run("dataset", "show", best).out.splitlines())
    assert (shown["versions"], shown["remarks"], shown["state"]) == ("1,2", "why=test", "open")
    assert "does not expire" in run("dataset", "lifetime", best, "never").err
    assert "version" in run("dataset", "story", best).out


def test_a_container_is_filled_and_shown(data: Path, run: Run) -> None:
    assert run("dataset", "create", "user.ada.all", "--kind", "container").code == 0
    assert run("dataset", "add", "user.ada.all", NAME).err == "user.ada:user.ada.all has 3 files\n"
    assert run("ls", "-l", "user.ada.all").out == "user.ada.all\tcontainer\topen\t3\t30\t3000\tA\n"
    ran = run("dataset", "rm", NAME)
    assert ran.code == 1
    assert "is needed by the container user.ada:user.ada.all" in ran.err


def test_ls_narrows_by_place_age_owner_and_fields_and_counts(data: Path, run: Run) -> None:
    for options in (["--at", "A"], ["--not-at", "B-DISK"], ["--complete-at", "A-DISK"], ["--since", "1d"],
                    ["--owner", "ada"], ["--sort", "-bytes"], ["user*:*zmumu*"], ["--kind", "user"]):  # fmt: skip
        assert run("ls", *options).out == f"{NAME}\n", options
    for options in (["--at", "B"], ["--not-at", "A"], ["--since", "2099-01-01"], ["--owner", "bob"]):
        assert run("ls", *options).out == "", options
    for number in (1, 2):
        run("dataset", "create", f"mc26.70000{number}.Z.evgen.EVNT.v1", "--kind", "production")
    counts = run("ls", "--facets", "mc26*").out.splitlines()
    assert "step\tevgen\t2" in counts
    assert "number\t700001\t1" in counts
    assert json.loads(run("ls", "--facets", "--json").out)["datasets"] == 3
    assert "do: write 10min, 12h or 7d" in run("ls", "--since", "yesterday").err


def test_a_wish_is_tried_made_explained_and_cancelled(data: Path, run: Run) -> None:
    dry = run("dataset", "subscribe", NAME, "--to", "site=B", "--dry-run")
    assert dry.out.startswith("B-DISK\t3\t3000\t")
    assert dry.err == "nothing was changed: this was a dry run\n"
    why = run("dataset", "why", f"{NAME}@B-DISK").out.splitlines()
    assert why[0].startswith("0 of 3 files are at B-DISK so far; it is open, more may come; 3 are missing")
    assert why[1:3] == ["nobody wished for it there", f"  do: `prodchain dataset subscribe {NAME} --to B-DISK`"]
    assert run("dataset", "subscribe", NAME, "--to", "B-DISK").code == 0
    lines = run("dataset", "why", f"{NAME}@B-DISK").out.splitlines()
    assert "3 queued" in lines
    assert lines[-1].split("\t")[:3] == ["user.ada:c.root", "new", "0"]
    [wish] = json.loads(run("subscription", "ls", "--state", "active", "--json").out)["items"]
    assert (wish["storage"], wish["files_missing"], wish["owner"]) == ("B-DISK", 3, "ada")
    assert run("subscription", "summary").out.splitlines()[2] == "other\t1\t3\t3000\t0"
    assert len(run("transfer", "ls", "--state", "queued").out.splitlines()) == 3
    assert "would end the wish" in run("subscription", "cancel", wish["id"], "-n").err
    assert f"subscription {wish['id']} is cancelled" in run("subscription", "cancel", wish["id"], "--yes").err
    assert run("transfer", "ls") == run("transfer", "links") == (0, "", "")
    assert run("dataset", "why", f"{NAME}@A-DISK").out.startswith("complete: all 3 files are at A-DISK")
    for wrong in (NAME, f"{NAME}@2"):
        assert run("dataset", "why", wrong).code == 2
    assert "did you mean B-DISK?" in run("dataset", "why", f"{NAME}@B-DISC").err


def test_damaged_copies_are_found_named_and_declared(data: Path, run: Run) -> None:
    assert run("dataset", "verify", NAME).err == "3 copies were read, 3 kB; all are right\n"
    [stored] = data.rglob("b.root")
    stored.write_bytes(b"B" + stored.read_bytes()[1:])
    ran = run("dataset", "verify", NAME, "--at", "A-DISK", "--declare")
    assert ran.code == 1
    assert ran.out.startswith("user.ada:b.root\tA-DISK\tits adler32 is ")
    assert "user.ada:b.root at A-DISK: lost" in ran.err
    assert "1 are damaged or gone" in ran.err
    assert "lost" in run("dataset", "story", NAME).out
    ran = run("dataset", "bad", NAME, "a.root", "--at", "A-DISK", "--dry-run")
    assert ran.err == "a.root at A-DISK: would be lost\n"


def test_what_is_removed_says_until_when_it_can_be_brought_back(data: Path, run: Run) -> None:
    assert run("dataset", "rm", NAME, "--dry-run").err == f"would delete user.ada:{NAME} (3 files, 3 kB)\n"
    ran = run("dataset", "rm", NAME, "--yes")
    assert f"`prodchain dataset undelete user.ada:{NAME}` brings it back" in ran.err
    assert run("ls").out == ""
    assert run("ls", "-l", "--deleted").out.split("\t")[2] == "deleted"
    assert "is back with 3 files" in run("dataset", "undelete", NAME).err
    assert [line.split("\t")[1] for line in run("dataset", "story", NAME).out.splitlines()] == [
        "created",
        "added",
        "deleted",
        "undeleted",
    ]
    assert run("ls").out == f"{NAME}\n"


def test_the_lines_that_show_how_to_read_a_dataset_work(data: Path, run: Run, tmp_path: Path) -> None:
    ways = {way["by"]: way["line"] for way in json.loads(run("dataset", "show", NAME, "--json").out)["access"]}
    assert f"read by fsspec\t{ways['fsspec']}\n" in run("dataset", "show", NAME).out
    program, *words = shlex.split(ways["shell"])
    assert program == "prodchain"
    assert run(*words).code == 0
    assert (tmp_path / NAME / "c.root").read_bytes() == b"c" * 1000
    found: dict[str, Any] = {}
    exec(ways["fsspec"], found)
    assert found["file"].read() == b"a" * 1000


def test_a_lineage_is_told_and_exported(data: Path, run: Run, tmp_path: Path) -> None:
    run("dataset", "create", "user.ada.all", "--kind", "container")
    run("dataset", "add", "user.ada.all", NAME)
    steps = [line.split("\t")[:2] for line in run("dataset", "lineage", NAME).out.splitlines()]
    assert steps == [["0", NAME], ["1", "user.ada.all"]]
    assert len(run("dataset", "lineage", NAME, "--down", "0").out.splitlines()) == 1
    assert run("dataset", "lineage", NAME, "--export", "prov.json").err.startswith("prov.json has the lineage")
    document = json.loads((tmp_path / "prov.json").read_text())
    assert {f"dataset:user.ada:{name}" for name in (NAME, "user.ada.all")} == set(document["entity"])
    assert run("dataset", "lineage", NAME, "--export", "no/such/folder.json").code == 4


def test_quotas_and_storages_are_shown(data: Path, run: Run) -> None:
    assert "would have 5 kB at A-DISK" in run("quota", "set", "ada", "A-DISK", "5kB", "-n").err
    assert "ada has 5 kB at A-DISK, 3 kB are used" in run("quota", "set", "ada", "A-DISK", "5kB").err
    assert run("quota", "ls", "--owner", "ada").out == "ada\tA-DISK\t5000\t3000\t0\t2000\n"
    assert "no limit" in run("quota", "set", "ada", "A-DISK", "none").err
    assert run("quota", "set", "ada", "A-DISK", "much").code == 2
    lines = [line.split("\t") for line in run("storage", "ls").out.splitlines()]
    assert [line[:7] for line in lines] == [
        ["A-DISK", "A", "disk", "3", "3000", "1000000000", "999997000"],
        ["B-DISK", "B", "disk", "0", "0", "", ""],
    ]
    assert "capacity\t1000000000\n" in run("storage", "show", "A-DISK").out
    assert run("storage", "show", "A-DISC").code == 3
