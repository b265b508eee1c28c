"""The mover against the native tool of each storage: ``python -m benchmarks.mover [--json] [--quick]``.

One 1-GiB file, then 1,000 files of 1 MiB: put and get in turns with the tool, on real servers whose folders are in
memory, so that protocols and programs are measured and not a disk (a sync costs nothing there). Each side verifies as
it does by itself: ours by the sums of copy.py, theirs by what ``tools`` in the result says. Where a server has no
digest, copy.py reads the file back; that is timed by itself (``readback``) and not part of the ratio: time of the
tool over ours, the worse of put and get, by medians.

Each side begins when the server has ended what the one before left it to do: rclone sums up a file once more after it
has sent the whole of it, so that our reading back took one of two cores from the gets that followed, of both sides.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from zlib_ng import zlib_ng

from prodchain.catalog import copy, storage
from tests.storages.farm import Farm, farm
from tests.storages.servers import open_folder

from .native import AT_ONCE, Https, Native, native

STORAGES = {
    "local": "local",
    "root": "root",
    "https": "https",
    "s3": "s3-rclone",
    "webdav": "webdav-rclone",
    "sftp": "sftp",
}
"""Their keys in the result, and their names in the farm."""

MIB = 1024 * 1024
MEMORY = Path("/dev/shm")

SETTLE_S = 0.25
IDLE_TICKS = 1
"""CPU, in hundredths of a second, that servers which do nothing may take in SETTLE_S."""
SETTLED_WITHIN_S = 60.0


@dataclass(frozen=True)
class Sizes:
    one: int
    many: int
    rounds: int


FULL = Sizes(one=1024 * MIB, many=1000, rounds=3)
QUICK = Sizes(one=64 * MIB, many=50, rounds=2)


class File(NamedTuple):
    path: Path
    bytes: int
    adler32: str


@dataclass(frozen=True)
class Bench:
    """What is moved, from where."""

    sizes: Sizes
    servers: Farm
    here: Path
    one: File
    many: list[File]


def run(sizes: Sizes, where: Path, only: str | None = None) -> dict[str, Any]:
    """All that was measured, of one storage if ``only`` names it; ``failed`` says what could not be, and why."""
    result: dict[str, Any] = {"one_1gib": {}, "many_1mib": {}, "rss_mb": None, "seconds": {}, "readback": {}}
    result |= {"tools": {}, "failed": {}, "sizes": vars(sizes)}
    with open_folder(where) as here, farm(where) as servers:
        bench = Bench(sizes, servers, here, *_material(here, sizes))
        for key, name in STORAGES.items() if only is None else [(only, STORAGES[only])]:
            try:
                _measure(bench, key, name, result)
            except Exception as error:
                result["failed"][key] = f"{type(error).__name__}: {error}"
                _say(f"{key}: {result['failed'][key]}")
        try:
            result["rss_mb"] = _rss_mb(bench, [key for key in result["one_1gib"] if key not in result["failed"]])
        except Exception as error:
            result["failed"]["rss_mb"] = f"{type(error).__name__}: {error}"
    return result


def _measure(bench: Bench, key: str, name: str, result: dict[str, Any]) -> None:
    tool, url = native(name, bench.servers), bench.servers.url(name)
    if isinstance(tool, Https):
        tool.many = bench.sizes.many
    if key == "local":
        Path(url.removeprefix("file://")).mkdir()
    result["tools"][key] = tool.tools
    result["seconds"][key], result["readback"][key] = {}, {}
    for what, rounds in (("one_1gib", _one), ("many_1mib", _many)):
        taken: dict[str, list[float]] = {}
        for number in range(bench.sizes.rounds):
            for work, seconds in rounds(bench, tool, url, number):
                taken.setdefault(work, []).append(seconds)
            _empty(bench, name)
        median = {work: statistics.median(seconds) for work, seconds in taken.items()}
        ratios = [median[f"{way} native"] / median[f"{way} ours"] for way in ("put", "get")]
        result[what][key] = round(min(ratios), 3)
        result["readback"][key][what] = round(median.pop("readback"), 3)
        result["seconds"][key][what] = {work: round(seconds, 3) for work, seconds in median.items()}
        _say(f"{key} {what}: {result[what][key]} {result['seconds'][key][what]}")


def _one(bench: Bench, tool: Native, url: str, number: int) -> Iterator[tuple[str, float]]:
    """A file there and back by both; who begins changes from round to round."""
    theirs, ours, back = f"native-{number}", f"{url}/ours-{number}", _fresh(bench.here)

    def fetched_natively() -> None:
        tool.get(theirs, back)

    def fetched() -> None:
        _move(f"{url}/ours-{number}", f"file://{back}", bench.one)

    with _unread() as unread:
        puts = [
            ("put native", lambda: tool.put(bench.one.path, theirs)),
            ("put ours", lambda: _move(f"file://{bench.one.path}", ours, bench.one)),
        ]
        yield from _turns(bench, puts, number, lambda: None)
    yield "readback", _seconds(lambda: [storage.read_back(each) for each in unread])
    yield from _turns(bench, [("get native", fetched_natively), ("get ours", fetched)], number, back.unlink)


def _many(bench: Bench, tool: Native, url: str, number: int) -> Iterator[tuple[str, float]]:
    theirs, ours, back = f"many-native-{number}", f"{url}/many-ours-{number}", _fresh(bench.here)
    source = bench.many[0].path.parent

    with ThreadPoolExecutor(AT_ONCE) as threads:

        def all_of(work: Callable[[File], object]) -> None:
            list(threads.map(work, bench.many))

        with _unread() as unread:
            puts = [
                ("put native", lambda: tool.put_all(source, theirs)),
                (
                    "put ours",
                    lambda: all_of(lambda file: _move(f"file://{file.path}", f"{ours}/{file.path.name}", file)),
                ),
            ]
            yield from _turns(bench, puts, number, lambda: None)
        yield "readback", _seconds(lambda: list(threads.map(storage.read_back, unread)))
        gets = [
            ("get native", lambda: tool.get_all(theirs, back)),
            (
                "get ours",
                lambda: all_of(
                    lambda file: _move(f"{ours}/{file.path.name}", f"file://{back}/{file.path.name}", file)
                ),
            ),
        ]
        yield from _turns(bench, gets, number, lambda: _emptied(back, bench))


def _turns(
    bench: Bench, works: list[tuple[str, Callable[[], None]]], number: int, after: Callable[[], None]
) -> Iterator[tuple[str, float]]:
    for name, work in works if number % 2 == 0 else works[::-1]:
        _settle(bench.servers)
        yield name, _seconds(work)
        after()


def _settle(servers: Farm) -> None:
    """Wait until the servers have nothing left to do."""
    until, before = time.monotonic() + SETTLED_WITHIN_S, -1
    while (now := sum(_cpu_ticks(process) for process in servers.processes())) - before > IDLE_TICKS:
        if time.monotonic() > until:
            raise RuntimeError(f"the servers are still busy after {SETTLED_WITHIN_S:.0f} s")
        before = now
        time.sleep(SETTLE_S)


def _cpu_ticks(process: subprocess.Popen[bytes]) -> int:
    user, system = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def _move(source: str, target: str, file: File) -> None:
    """What the mover does with a file."""
    outcome = copy.attempt(source, target, file.bytes, file.adler32, first=True)
    if outcome.error is not None:
        raise outcome.error


@contextmanager
def _unread() -> Iterator[list[str]]:
    """Files are not read back meanwhile; the URLs that would have been, to do it afterwards."""
    unread: list[str] = []
    known: dict[str, tuple[int, str]] = {}
    real, attempt = storage.read_back, copy.attempt

    def trusting(source: str, target: str, bytes_: int, adler32: str, **options: Any) -> copy.Outcome:
        known[target] = bytes_, adler32
        return attempt(source, target, bytes_, adler32, **options)

    def postponed(url: str) -> tuple[int, str]:
        target = url.partition(".part-")[0]
        unread.append(target)
        return known[target]

    storage.read_back, copy.attempt = postponed, trusting
    try:
        yield unread
    finally:
        storage.read_back, copy.attempt = real, attempt


def _emptied(back: Path, bench: Bench) -> None:
    """Each side brought all files: else it has not earned its time."""
    there = {file.name: file.stat().st_size for file in back.rglob("file-*")}
    if there != {file.path.name: file.bytes for file in bench.many}:
        raise RuntimeError(f"{len(there)} of {len(bench.many)} files came, or not whole")
    shutil.rmtree(back)


def _empty(bench: Bench, name: str) -> None:
    """Memory is short: nothing of a round is kept."""
    local = name == "local"
    folder = Path(bench.servers.url("local").removeprefix("file://")) if local else bench.servers.server(name).folder
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _rss_mb(bench: Bench, keys: list[str]) -> float:
    """Peak memory of a mover's process that moves the large file to each storage and back."""
    peak = 0.0
    for key in keys:
        url, back = f"{bench.servers.url(STORAGES[key])}/rss", _fresh(bench.here)
        command = [sys.executable, "-m", "benchmarks.mover", "--worker"]
        moves = [f"file://{bench.one.path}", url, f"file://{back}", str(bench.one.bytes), bench.one.adler32]
        done = subprocess.run([*command, *moves], check=True, stdout=subprocess.PIPE, text=True)
        peak = max(peak, float(done.stdout))
        _say(f"{key}: a worker of {float(done.stdout):.0f} MB")
        back.unlink()
        _empty(bench, STORAGES[key])
    return round(peak, 1)


def _work(source: str, there: str, back: str, bytes_: str, adler32: str) -> None:
    """As a process of its own: move, and print the most memory that it had."""
    import prodchain.catalog.mover  # noqa: F401 - what a worker has loaded counts

    for origin, target in ((source, there), (there, back)):
        _move(origin, target, File(Path(), int(bytes_), adler32))
    # Not getrusage: after exec that still has the parent's peak.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            print(int(line.split()[1]) / 1024)


def _material(here: Path, sizes: Sizes) -> tuple[File, list[File]]:
    noise = os.urandom(MIB)
    source = here / "many"
    source.mkdir()
    return (
        _file(here / "one", noise, sizes.one // MIB, 0),
        [_file(source / f"file-{number}", noise, 1, number) for number in range(sizes.many)],
    )


def _file(path: Path, noise: bytes, many: int, seed: int) -> File:
    """Blocks that differ, so that no two are taken for the same."""
    checksum = 1
    with path.open("wb") as file:
        for number in range(many):
            block = (seed + number).to_bytes(8, "big") + noise[8:]
            checksum = zlib_ng.adler32(block, checksum)
            file.write(block)
    return File(path, many * MIB, f"{checksum:08x}")


def _fresh(folder: Path) -> Path:
    """A path in a folder that nothing has."""
    return folder / f"back-{uuid4().hex}"


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="64 MiB and 50 files, within a minute")
    parser.add_argument("--where", type=Path, default=MEMORY, help="folder for all data (default: %(default)s)")
    parser.add_argument("--only", choices=STORAGES, help="one storage")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        _work(*given.worker)
        return 0
    result = run(QUICK if given.quick else FULL, given.where, given.only)
    if given.json:
        print(json.dumps(result))
    else:
        for key, tool in result["tools"].items():
            one, many = result["one_1gib"].get(key), result["many_1mib"].get(key)
            print(f"{key:7} one file {one}  many {many}  against {tool}")
        print(f"memory of a worker: {result['rss_mb']} MB")
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
