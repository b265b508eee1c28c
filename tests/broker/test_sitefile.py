"""The sites file: what it means, and that each mistake is named with its line and a remedy."""

from importlib.resources import files
from pathlib import Path

import pytest

from prodchain.broker.errors import BadSiteFile
from prodchain.broker.sitefile import parse, parse_all, read
from prodchain.broker.sitespecs import Queue, SiteFile, Storage
from prodchain.catalog.sites import LinkSpec, SiteSpec

GOOD = """\
home = "A-DISK"

[site.A]
description = "here"

[site.A.storage.A-DISK]
url = "file:storage/a"

[site.A.queue.A-BATCH]
storage = "A-DISK"
slots = 2

[site.B.storage.B-TAPE]
url = "s3+https://s3.example.org/bucket/b/"
kind = "tape"
writable = false
"""


def test_a_good_file_is_sites_storages_and_queues() -> None:
    assert parse(GOOD, Path("/base")) == SiteFile(
        home="A-DISK",
        sites=(SiteSpec("A", "here"), SiteSpec("B")),
        storages=(
            Storage("A-DISK", "A", "file:///base/storage/a"),
            Storage("B-TAPE", "B", "s3+https://s3.example.org/bucket/b", "tape", writable=False),
        ),
        queues=(Queue("A-BATCH", "A", "A-DISK", slots=2),),
    )


def test_relative_urls_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "sites.toml").write_text(GOOD)
    assert read(tmp_path / "sites.toml").storages[0].url == f"file://{tmp_path}/storage/a"


@pytest.mark.parametrize("url", ["file:///data/a", "file:/data/a"])
def test_absolute_file_urls_stay_where_they_are(url: str) -> None:
    assert parse(GOOD.replace("file:storage/a", url), Path("/base")).storages[0].url == "file:///data/a"


def test_the_default_file_has_two_sites_with_a_queue_each() -> None:
    text = (files("prodchain.cli") / "local" / "sites.toml").read_text()
    found = parse(text, Path("/base"))
    assert [site.name for site in found.sites] == ["SITE-A", "SITE-B"]
    assert [queue.storage for queue in found.queues] == ["SITE-A-DISK", "SITE-B-DISK"]
    assert found.home == "SITE-A-DISK"


MISTAKES = [
    ("syntax", "slots = 2", "slots = ", 11, "Invalid value", "slots = 4"),
    ("text without end", 'kind = "tape"', 'kind = "tape', 15, "Illegal character", "double quotes"),
    ("a table twice", "[site.B.storage.B-TAPE]", "[site.A.queue.A-BATCH]", 13, "twice", "tables look like"),
    ("unknown key at the top", 'home = "A-DISK"', 'home = "A-DISK"\nhomes = 1', 2, "'homes'", "mean home?"),
    ("unknown key of a site", 'description = "here"', 'descr = "here"', 4, "'descr'", "description"),
    ("unknown key of a storage", 'kind = "tape"', 'type = "tape"', 15, "'type'", "deletable, kind, max_transfers"),
    ("unknown key of a queue", "slots = 2", "slot = 2", 11, "'slot'", "mean slots?"),
    ("no home", 'home = "A-DISK"', "", 1, "home is missing", "add home"),
    ("home is no storage", 'home = "A-DISK"', 'home = "A-DISC"', 1, "no storage 'A-DISC'", "mean A-DISK?"),
    ("queue with a missing storage", 'storage = "A-DISK"', 'storage = "ELSE"', 10, "'ELSE'", "A-DISK, B-TAPE"),
    ("queue without storage", 'storage = "A-DISK"', "", 9, "storage is missing", "add storage"),
    ("storage without url", 'url = "s3+https://s3.example.org/bucket/b/"', "", 13, "url is missing", "add url"),
    ("negative slots", "slots = 2", "slots = -1", 11, "slots is -1", "0 or more"),
    ("slots in quotes", "slots = 2", 'slots = "2"', 11, "slots is '2'", "whole number"),
    ("slots true", "slots = 2", "slots = true", 11, "slots is True", "whole number"),
    ("unknown status", "slots = 2", 'status = "closed"', 11, "status is 'closed'", "online, drain, offline"),
    ("no cores", "slots = 2", "cores = 0", 11, "cores is 0", "1 or more"),
    ("too much memory", "slots = 2", "memory_mb = 99999999999", 11, "memory_mb", "whole number"),
    ("lower-case name", "[site.B.storage.B-TAPE]", "[site.b.storage.B-TAPE]", 13, "'b' is not a name", "SITE-A"),
    ("name with two dashes", "A-BATCH]", "A--BATCH]", 9, "'A--BATCH'", "single"),
    ("site that is no table", "[site.B.storage.B-TAPE]", "[site]\nB = 3\n[site.C]", 14, "not a table", "[site.N"),
    (
        "storage that is no table",
        "[site.B.storage.B-TAPE]",
        "[site.C]\nstorage = 3\n[site.B.storage.B-TAPE]",
        14,
        "not a table",
        "[site.C",
    ),
    ("no URL", "s3+https://s3.example.org/bucket/b/", "bucket", 14, "'bucket' is not a URL", "root://host//folder"),
    ("unknown protocol", "s3+https://s3.example.org/bucket/b/", "s4://bucket/b", 14, "speaks s4:", "root"),
    (
        "URL without place",
        "s3+https://s3.example.org/bucket/b/",
        "root://host",
        14,
        "names no place",
        "root://host/folder",
    ),
    ("file URL with a host", "file:storage/a", "file://host/a", 7, "names no folder", "file:///folder"),
    (
        "password in a URL",
        "s3+https://s3.example.org/bucket/b/",
        "root://me:pw@host/b",
        14,
        "credentials",
        "storages.toml",
    ),
    ("capacity", "writable = false", 'capacity_gb = "1 TB"', 16, "capacity_gb is '1 TB'", "gigabytes"),
    (
        "tape API of a disk",
        'url = "file:storage/a"',
        'url = "file:a"\ntape_api = "https://t"',
        8,
        "no tape_api",
        "tape",
    ),
    ("too large a part", "slots = 2", "analysis_percent = 101", 11, "over 100", "0 to 100"),
    ("software that is no list", "slots = 2", 'software = "x"', 11, "not a list", "apptainer"),
    ("who is nobody", "slots = 2", 'allow = ["higgs"]', 11, "'higgs'", "group:higgs"),
    ("a negative limit", "slots = 2", "max_jobs = -1", 11, "max_jobs is -1", "0 or more"),
    ("attribute", "writable = false", 'attributes = {Cloud = "DE"}', 16, "'Cloud'", "lower-case"),
    ("link to nowhere", 'home = "A-DISK"', 'home = "A-DISK"\n[link.A-DISK.C]', 2, "no storage 'C'", "A-DISK, B-TAPE"),
    ("kind", 'kind = "tape"', 'kind = "cloud"', 15, "'cloud'", '"disk"'),
    ("writable", "writable = false", 'writable = "no"', 16, "'no'", "true or false"),
    ("description", 'description = "here"', "description = 7", 4, "7, not text", "double quotes"),
    (
        "queue name twice",
        "[site.B.storage.B-TAPE]",
        '[site.B.queue.A-BATCH]\nstorage = "A-DISK"\n[site.B.storage.B-TAPE]',
        13,
        "A already has a queue",
        "rename one",
    ),
    ("storage name twice", "B-TAPE]", "A-DISK]", 13, "A already has a storage", "rename one"),
    (
        "one place twice",
        "s3+https://s3.example.org/bucket/b/",
        "file:///base/storage/a",
        14,
        "A-DISK has the same url",
        "of its own",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "message", "hint"), [row[1:] for row in MISTAKES], ids=[r[0] for r in MISTAKES]
)
def test_a_mistake_names_line_object_and_remedy(old: str, new: str, line: int, message: str, hint: str) -> None:
    assert old in GOOD
    with pytest.raises(BadSiteFile) as caught:
        parse(GOOD.replace(old, new), Path("/base"), "my.toml")
    assert str(caught.value).startswith(f"my.toml:{line}:")
    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.object.startswith(f"my.toml:{line}")


def test_an_empty_file_has_no_sites() -> None:
    with pytest.raises(BadSiteFile, match="there is no site"):
        parse("", Path("/base"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSiteFile, match="cannot read"):
        read(tmp_path / "sites.toml")


EVERYTHING = """\
home = "A-DISK"

[site.A.storage.A-DISK]
url = "root://a.example.org:1094//data"
readable = true
deletable = false
capacity_gb = 1.5
min_free_gb = 1
max_transfers = 20
attributes = {cloud = "DE", tier = "1"}

[site.A.storage.A-TAPE]
url = "https://tape.example.org/archive"
kind = "tape"
tape_api = "https://tape.example.org/api/v1/"

[link.A-TAPE.A-DISK]
max_transfers = 3
"""


def test_a_storage_says_how_much_it_takes_and_what_it_allows() -> None:
    found = parse(EVERYTHING, Path("/base"))
    assert found.storages == (
        Storage(
            "A-DISK",
            "A",
            "root://a.example.org:1094//data",
            deletable=False,
            capacity_bytes=1_500_000_000,
            min_free_bytes=10**9,
            max_transfers=20,
            attributes={"cloud": "DE", "tier": "1"},
        ),
        Storage(
            "A-TAPE", "A", "https://tape.example.org/archive", "tape", tape_api="https://tape.example.org/api/v1"
        ),
    )
    assert found.links == (LinkSpec("A-TAPE", "A-DISK", 3),)


QUEUE = """\
home = "A-DISK"
[site.A.storage.A-DISK]
url = "file:a"
[site.A.queue.A-GPU]
storage = "A-DISK"
scratch_mb = 50000
gpus = 2
architecture = "aarch64"
software = ["Athena/24.*", "apptainer"]
allow = ["group:higgs", "user:ann", "analysis"]
max_jobs = 0
analysis_percent = 30
"""


def test_a_queue_says_what_it_has_and_who_may_use_it() -> None:
    (queue,) = parse(QUEUE, Path("/base")).queues
    assert queue == Queue(
        "A-GPU",
        "A",
        "A-DISK",
        scratch_mb=50_000,
        gpus=2,
        architecture="aarch64",
        software=("Athena/24.*", "apptainer"),
        allow=("group:higgs", "user:ann", "analysis"),
        max_jobs=0,
        analysis_percent=30,
    )


def test_a_folder_is_read_as_one_declaration(tmp_path: Path) -> None:
    (tmp_path / "10-home.toml").write_text('home = "B-DISK"\n')
    (tmp_path / "20-a.toml").write_text('[site.A.storage.A-DISK]\nurl = "file:a"\n')
    (tmp_path / "30-b.toml").write_text('[site.B.storage.B-DISK]\nurl = "file:b"\n')
    (tmp_path / "notes.md").write_text("not read")
    found = read(tmp_path)
    assert (found.home, [storage.url for storage in found.storages]) == (
        "B-DISK",
        [f"file://{tmp_path}/a", f"file://{tmp_path}/b"],
    )


@pytest.mark.parametrize(
    ("second", "line", "message"),
    [
        ('home = "A-DISK"\n', 1, "first.toml already names a home"),
        ('[site.A]\ndescription = "again"\n', 1, "first.toml already has a site of this name"),
        ('[site.B.queue.X]\nstorage = "C"\n', 2, "there is no storage 'C'"),
    ],
)
def test_a_mistake_between_files_names_the_later_one(second: str, line: int, message: str) -> None:
    with pytest.raises(BadSiteFile) as caught:
        parse_all({"first.toml": GOOD.replace("[site.B.", "[site.D."), "second.toml": second}, Path("/base"))
    assert str(caught.value) == f"second.toml:{line}: {message}"


def test_an_empty_folder_is_no_declaration(tmp_path: Path) -> None:
    with pytest.raises(BadSiteFile, match=r"no \*\.toml"):
        read(tmp_path)
