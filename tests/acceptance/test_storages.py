"""Data on real storages, as users and operators have to do with them: from `put` to `purge`, and through every fault.

Waits that the system makes in minutes (the next try, the grace of what was deleted) are ended by setting their time
in the database; nothing else is done behind its back but what the faults are.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .storages import COMPLETE, HOME, STORAGES, Storages, digest, flip, silent_server, small_disk, storages
from .system import wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("storages"), pytest.mark.timeout(600)]

BIG = 48_000_000
"""More than what is copied in batches."""
HUGE = 400_000_000
"""Takes long enough to be killed in the middle."""
REMOTE = STORAGES[1:]
ONE_FILE = [300_000]


@pytest.fixture(scope="module")
def world(home: Path) -> Iterator[Storages]:
    with storages(home) as made:
        yield made


def name_of(topic: str) -> str:
    return f"user.ada.{topic}.NTUP.v1"


# What users do


def test_a_storage_is_tried_before_it_is_used(world: Storages) -> None:
    for storage in STORAGES:
        assert world.system.json("storage", "test", storage)["ok"]


def test_a_dataset_is_copied_everywhere_verified_and_mended(world: Storages, tmp_path: Path) -> None:
    name = name_of("everywhere")
    files = world.put(tmp_path, name, [300_000, 400_000, BIG])
    before = world.system.json("dataset", "subscribe", name, "--to", "*", "--dry-run")["plans"]
    assert {plan["storage"]: plan["files"] for plan in before} == dict.fromkeys(REMOTE, 3) | {HOME: 0}
    assert world.system.json("subscription", "ls", "--dataset", name)["items"] == []
    world.subscribe(name, "*")
    world.complete(name, *STORAGES)
    wishes = world.system.json("subscription", "ls", "--dataset", name)["items"]
    assert {(wish["storage"], wish["files_there"], wish["failing"]) for wish in wishes} == {
        (storage, 3, 0) for storage in STORAGES
    }
    said = world.system.json("dataset", "verify", name)
    assert (said["checked"], said["bad"]) == (18, [])
    world.in_order()

    for storage in ("XRD-DISK", "S3-DISK"):  # XRootD would still tell the digest that it computed before
        flip(world.path(storage, files[0]))
    flip(world.path("SFTP-DISK", files[2]), at=BIG - 5)
    found = world.refused("dataset", "verify", name)
    assert "3 are damaged" in found
    bad = ["--at", "SFTP-DISK", "--reason", "a bit is wrong", "--yes"]
    world.system.run("dataset", "bad", name, files[2], *bad)
    assert "are being replaced" in world.refused("dataset", "verify", name, "--declare")
    world.complete(name, "XRD-DISK", "S3-DISK", "SFTP-DISK")
    assert world.system.json("dataset", "verify", name)["bad"] == []
    world.in_order()


def test_an_audit_tells_what_is_lost_and_what_is_dark(world: Storages, tmp_path: Path) -> None:
    name = name_of("audited")
    files = world.put(tmp_path, name, [200_000] * 3)
    world.subscribe(name, "name=*")
    world.complete(name, *STORAGES)
    for storage in ("XRD-DISK", "HTTPS-DISK", "SFTP-DISK", HOME):
        gone = world.path(storage, files[1])
        gone.unlink()
        dark = gone.with_name("nobody-knows.root")
        dark.write_bytes(b"dark")
        said = world.refused("storage", "audit", storage)
        assert "1 dark, 1 lost, 0 wrong size" in said, said
        dark.unlink()
        world.system.run("storage", "audit", storage, "--declare")
        world.complete(name, storage)
    world.in_order()


@pytest.mark.parametrize("storage", STORAGES)
def test_files_come_back_from_where_they_were_put(world: Storages, tmp_path: Path, storage: str) -> None:
    name = name_of(f"at-{storage.lower()}")
    files = world.put(tmp_path, name, [100_000, BIG, 0], storage)
    world.system.run("get", name, str(tmp_path / "back"))
    back = {path.name: digest(path) for path in (tmp_path / "back").iterdir()}
    assert back == {file: world.known[file] for file in files}


def test_a_dataset_is_closed_versioned_and_compared(world: Storages, tmp_path: Path) -> None:
    name = name_of("versions")
    world.put(tmp_path, name, ONE_FILE)
    world.system.run("dataset", "close", name)
    (more,) = world.make(tmp_path, f"{name}-more", ONE_FILE)
    refused = world.refused("put", more, "--dataset", name)
    assert "is closed" in refused and "reopen-as-new-version" in refused
    assert world.system.json("storage", "audit", HOME)["clean"]  # refused before a byte was copied
    world.system.run("dataset", "reopen-as-new-version", name)
    world.system.run("put", more, "--dataset", name)
    difference = world.system.json("dataset", "diff", f"{name}@1", name)
    assert (difference["added"]["files"], difference["removed"]["files"]) == (1, 0)
    assert difference["items"][0]["file"].endswith(Path(more).name)


def test_deletion_asks_who_needs_it_can_be_taken_back_and_frees_the_storages(world: Storages, tmp_path: Path) -> None:
    name = name_of("deleted")
    files = world.put(tmp_path, name, [50_000] * 4)
    for storage in REMOTE:
        world.subscribe(name, storage)
    world.complete(name, *REMOTE)
    refused = world.refused("dataset", "rm", name, "--yes")
    assert "is needed by" in refused and "the subscription at DAV-DISK" in refused
    wishes = world.system.json("subscription", "ls", "--dataset", name)["items"]
    world.system.run("subscription", "cancel", *(str(wish["id"]) for wish in wishes), "--yes")
    world.system.run("dataset", "rm", name, "--yes")
    world.system.run("dataset", "undelete", name)
    assert world.system.json("dataset", "show", name)["files"] == len(files)
    world.system.run("dataset", "rm", name, "--yes")
    world.sql("UPDATE dataset SET purge_at = now() WHERE name = $1", name)

    def freed() -> bool:
        world.sql("UPDATE replica SET tombstone_at = now() WHERE tombstone_at > now() RETURNING 1")
        world.wake("purge", "reap", "clean")
        return not [path for folder in world.folders.values() for file in files for path in folder.rglob(file)]

    wait_until(freed, "the bytes are gone from all storages", 60)
    world.in_order()
    assert "deleted" in world.refused("dataset", "undelete", name)


def test_a_quota_is_said_in_a_sentence(world: Storages, tmp_path: Path) -> None:
    name = name_of("quota")
    world.put(tmp_path, name, [400_000])
    owner = world.system.json("dataset", "show", name)["owner"]
    world.apply(LIMITED_DISK=f"file://{tmp_path}/limited")
    world.folders["LIMITED-DISK"] = tmp_path / "limited"
    world.system.run("quota", "set", owner, "LIMITED-DISK", "300kB")
    refused = world.refused("dataset", "subscribe", name, "--to", "LIMITED-DISK")
    assert "quota" in refused and "300" in refused and owner in refused
    world.system.run("quota", "set", owner, "LIMITED-DISK", "none")
    world.subscribe(name, "LIMITED-DISK")
    world.complete(name, "LIMITED-DISK")


# What goes wrong


def test_an_xrootd_server_is_killed_in_mid_transfer(world: Storages, tmp_path: Path) -> None:
    name, at = name_of("killed"), "XRD-DISK"
    world.put(tmp_path, name, [HUGE])
    world.subscribe(name, at)
    wait_until(lambda: bool(list(world.folders[at].rglob("*.part-*"))), "it is being written", 30)
    world.kill(at)
    try:
        assert list(world.folders[at].rglob("*.part-*"))
        said = world.says(name, at, "tried in vain", timeout_s=100)
        assert "0 of 1 files are at XRD-DISK" in said and "onnection" in said, said
        world.nothing_false()
    finally:
        world.start(at)
    world.hasten()
    world.complete(name, at)
    world.in_order()


def test_expired_credentials_are_renewed_while_the_system_runs(world: Storages, tmp_path: Path) -> None:
    name, at = name_of("expired"), "SFTP-DISK"
    world.put(tmp_path, name, [1000] * 3)
    own = world.credentials[at]
    (tmp_path / "known").write_text(Path(own["known_hosts"]).read_text().replace("AAAA", "AAAB", 1))
    world.log_in(SFTP_DISK={"known_hosts": str(tmp_path / "known")})
    try:
        world.subscribe(name, at)
        said = world.says(name, at, "ost key")
        assert "0 of 3 files are at SFTP-DISK" in said
        world.log_in(SFTP_DISK={"private_key": str(Path(own["private_key"]).with_name("host"))})
        world.hasten()
        world.says(name, at, "does not let us in")
        world.nothing_false()
    finally:
        world.log_in()
    world.hasten()
    world.complete(name, at)
    world.in_order()


def test_an_s3_server_is_down_for_a_while(world: Storages, tmp_path: Path) -> None:
    name, at = name_of("down"), "S3-DISK"
    world.put(tmp_path, name, [1000] * 3 + [BIG])
    world.kill(at)
    try:
        world.subscribe(name, at)
        said = world.says(name, at, "tried in vain", timeout_s=100)
        assert "0 of 4 files are at S3-DISK" in said and "127.0.0.1" in said
    finally:
        world.start(at)
    world.hasten()
    world.complete(name, at)
    world.in_order()


def test_a_full_disk_is_told_and_used_again_when_there_is_space(world: Storages, tmp_path: Path) -> None:
    name, at = name_of("full"), "FULL-DISK"
    world.put(tmp_path, name, [20_000_000, BIG])
    with small_disk(60) as disk:
        rest = disk / "rest"
        rest.write_bytes(bytes(30_000_000))
        world.apply(FULL_DISK=f"file://{disk}/store")
        world.folders[at] = disk / "store"
        try:
            world.subscribe(name, at)
            said = world.says(name, at, "tried in vain")
            assert "no space" in said.lower() or "full" in said.lower(), said
            assert "complete" not in said
            world.nothing_false()
            rest.unlink()
            subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
            world.hasten()
            world.complete(name, at)
            world.in_order()
        finally:
            world.folders.pop(at)
            world.urls.pop(at)


def test_movers_that_die_and_movers_that_compete_double_nothing(world: Storages, tmp_path: Path) -> None:
    name = name_of("competed")
    files = world.put(tmp_path, name, [20_000] * 150 + [BIG, BIG])
    second = world.second_agents()
    world.subscribe(name, " | ".join(REMOTE))
    for kills in range(3):
        arrived = 100 * (kills + 1)
        wait_until(lambda least=arrived: copies(world, name) > least, f"{arrived} copies have arrived", 60)  # type: ignore[misc]
        world.kill_agents()
    world.complete(name, *STORAGES, timeout_s=120)
    second.terminate()
    assert second.wait(30) == 0
    assert copies(world, name) == len(files) * len(STORAGES)
    world.in_order()


def test_what_is_damaged_or_missing_at_one_source_comes_from_the_other(world: Storages, tmp_path: Path) -> None:
    name = name_of("sources")
    files = world.put(tmp_path, name, [100_000] * 4)
    world.subscribe(name, "XRD-DISK")
    world.complete(name, "XRD-DISK")
    world.path(HOME, files[0]).unlink()
    flip(world.path(HOME, files[1]))
    world.path("XRD-DISK", files[2]).unlink()
    flip(world.path("XRD-DISK", files[3]))
    world.subscribe(name, "DAV-DISK")
    world.complete(name, "DAV-DISK", HOME, "XRD-DISK", timeout_s=100)
    world.system.run("dataset", "subscribe", name, "--to", f"{HOME} | name=XRD-DISK")
    world.refused("dataset", "verify", name, "--declare")  # what nobody had to read
    world.complete(name, HOME, "XRD-DISK")
    assert world.system.json("dataset", "verify", name)["bad"] == []
    world.in_order()


def test_a_silent_storage_does_not_hold_up_others(world: Storages, tmp_path: Path) -> None:
    name, at = name_of("silent"), "SILENT-DISK"
    world.put(tmp_path, name, [1000] * 60)
    with silent_server() as port:
        world.apply(SILENT_DISK=f"http://127.0.0.1:{port}/data")
        try:
            world.subscribe(name, at)
            world.says(name, at, "being copied now")
            world.subscribe(name, "XRD-DISK")
            world.complete(name, "XRD-DISK", timeout_s=30)
            assert COMPLETE not in world.why(name, at)
        finally:
            world.urls.pop(at)
    world.in_order()


def copies(world: Storages, name: str) -> int:
    """Registered copies of a dataset's files."""
    (row,) = world.sql(
        "SELECT count(*) FROM replica JOIN dataset_file m USING (file_id) JOIN dataset d ON d.id = m.dataset_id"
        " WHERE d.name = $1",
        name,
    )
    return int(row[0])
