"""CRIC's documents become a declaration that the sites file's own reader takes; what does not fit is said."""

import copy
from pathlib import Path
from typing import Any

import pytest

from prodchain.broker.cric import convert, name_of
from prodchain.broker.sitefile import parse_all
from prodchain.broker.sitespecs import Queue

ENDPOINTS: dict[str, Any] = {
    "PRAGUE_DATADISK": {
        "name": "PRAGUE_DATADISK",
        "rc_site": "praguelcg2",
        "site": "praguelcg2",
        "state": "ACTIVE",
        "type": "DATADISK",
        "cloud": "DE",
        "country": "Czech Republic",
        "token": "ATLASDATADISK",
        "is_tape": False,
        "is_deterministic": True,
        "arprotocols": {
            "read_wan": [{"endpoint": "davs://golias.example.org:443/", "path": "/dpm/disk/rucio", "id": 7}],
            "read_lan": [{"endpoint": "root://golias.example.org:1094/", "path": "/dpm/disk/rucio/", "id": 8}],
        },
    },
    "CERN-PROD_MCTAPE": {
        "name": "CERN-PROD_MCTAPE",
        "rc_site": "CERN-PROD",
        "type": "MCTAPE",
        "is_tape": True,
        "aprotocols": {"r": [["root://eosctaatlas.example.org:1094/", 0, "/eos/ctaatlas/mc"]]},
    },
    "OLD_SRM": {
        "name": "OLD_SRM",
        "rc_site": "praguelcg2",
        "arprotocols": {"read_wan": [{"endpoint": "srm://old.example.org:8446/srm?SFN=", "path": "/x"}]},
    },
    "OFF_DISK": {"name": "OFF_DISK", "rc_site": "X", "state": "DISABLED", "arprotocols": {}},
}
QUEUES: dict[str, Any] = {
    "praguelcg2_MCORE": {
        "nickname": "praguelcg2_MCORE",
        "atlas_site": "praguelcg2",
        "status": "online",
        "state": "ACTIVE",
        "corecount": 8,
        "maxrss": 16000,
        "maxtime": 345600,
        "nodes": 120,
        "maxwdir": 80000,
        "type": "production",
        "container_type": "singularity:pilot;docker:wrapper",
        "architectures": [
            {"type": "cpu", "arch": ["aarch64"], "instr": ["neon"]},
            {"type": "gpu", "vendor": ["nvidia"]},
        ],
        "astorages": {"read_lan": ["PRAGUE_DATADISK", "CERN-PROD_MCTAPE"], "write_lan": ["PRAGUE_DATADISK"]},
    },
    "praguelcg2_TEST": {
        "atlas_site": "praguelcg2",
        "status": "brokeroff",
        "corecount": None,
        "maxrss": 0,
        "maxtime": 0,
        "astorages": {"pw": ["PRAGUE_DATADISK"]},
    },
    "SOMEWHERE": {"atlas_site": "SOMEWHERE", "status": "online", "astorages": {"pw": ["OLD_SRM"]}},
    "praguelcg2_VIRTUAL": {"atlas_site": "praguelcg2", "is_virtual": True, "astorages": {}},
}


def test_queues_and_endpoints_become_sites_that_can_be_applied() -> None:
    found = parse_all(convert(QUEUES, ENDPOINTS).files, Path("/base"))
    assert found.home == "PRAGUE_DATADISK"
    assert [site.name for site in found.sites] == ["CERN-PROD", "PRAGUELCG2"]
    tape, disk = found.storages
    assert (tape.name, tape.kind, tape.url) == (
        "CERN-PROD_MCTAPE",
        "tape",
        "root://eosctaatlas.example.org:1094//eos/ctaatlas/mc",
    )
    assert (disk.url, disk.kind) == ("https://golias.example.org:443/dpm/disk/rucio", "disk")
    assert disk.attributes == {"cloud": "DE", "token": "ATLASDATADISK", "country": "Czech-Republic"}
    assert found.queues == (
        Queue(
            *("PRAGUELCG2_MCORE", "PRAGUELCG2", "PRAGUE_DATADISK", "online", 120, 0, 8, 16000, 345600),
            *(80000, 1, "aarch64", ("apptainer",), ("production",)),
        ),
        Queue("PRAGUELCG2_TEST", "PRAGUELCG2", "PRAGUE_DATADISK", "drain", 1, 0, 1, 2000, 86400),
    )


def test_what_cannot_be_taken_over_is_said_by_name() -> None:
    notes = "\n".join(convert(QUEUES, ENDPOINTS).notes)
    assert "endpoint OLD_SRM: left out, none of its protocols is one of" in notes
    assert "endpoint OFF_DISK: left out, its state is DISABLED" in notes
    assert "queue SOMEWHERE: left out, none of its storages was imported" in notes
    assert "queue praguelcg2_VIRTUAL: left out, it is virtual" in notes
    assert "queue praguelcg2_MCORE: is PRAGUELCG2_MCORE here" in notes


def test_a_list_is_read_as_a_table_by_name() -> None:
    listed = [{"nickname": name} | entry for name, entry in QUEUES.items()]
    assert convert(listed, list(ENDPOINTS.values())) == convert(QUEUES, ENDPOINTS)


def test_the_home_may_be_named() -> None:
    assert 'home = "CERN-PROD_MCTAPE"' in convert(QUEUES, ENDPOINTS, "CERN-PROD_MCTAPE").files["00-home.toml"]
    refused = convert(QUEUES, ENDPOINTS, "OLD_SRM")
    assert "00-home.toml" not in refused.files
    assert "OLD_SRM: is no endpoint that was imported, so it cannot be home" in refused.notes


@pytest.mark.parametrize(
    ("name", "changes", "note"),
    [
        ("prague_datadisk", {}, "its name becomes PRAGUE_DATADISK, as that of PRAGUE_DATADISK"),
        ("Z-DISK", {}, "its address is that of PRAGUE_DATADISK"),
        ("A" * 41, {}, "its name has more than 40 characters"),
        ("HASHLESS", {"is_deterministic": False}, "is_deterministic is false"),
        ("NOWHERE", {"site": None, "rc_site": None}, "it names no site"),
    ],
)
def test_two_endpoints_never_share_a_name_or_a_place(name: str, changes: dict[str, Any], note: str) -> None:
    again = copy.deepcopy(ENDPOINTS["PRAGUE_DATADISK"]) | changes
    result = convert(QUEUES, ENDPOINTS | {name: again})
    assert any(line.startswith(f"endpoint {name}: left out") and note in line for line in result.notes)
    assert len(parse_all(result.files, Path("/base")).storages) == 2


@pytest.mark.parametrize(
    ("cric", "ours"),
    [
        ("praguelcg2", "PRAGUELCG2"),
        ("CERN-PROD_DATADISK", "CERN-PROD_DATADISK"),
        ("UKI-LT2-QMUL (test)", "UKI-LT2-QMUL-TEST"),
        ("a__b", "A_B"),
        ("a_-b", "A-B"),
    ],
)
def test_names_keep_what_our_names_allow(cric: str, ours: str) -> None:
    assert name_of(cric) == ours
