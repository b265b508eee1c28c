"""The benchmark of the mover measures every storage, with sizes so small that its figures mean nothing."""

import json
from pathlib import Path

import pytest

from benchmarks import mover

STORAGES = {"local", "root", "https", "s3", "webdav", "sftp"}


def test_every_storage_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(mover, "QUICK", mover.Sizes(one=mover.MIB, many=2, rounds=1))
    ended = mover.main(["--quick", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (ended, result["failed"]) == (0, {})
    for what in ("one_1gib", "many_1mib"):
        assert set(result[what]) == STORAGES
        assert min(result[what].values()) > 0
        for storage in STORAGES:
            assert min(result["seconds"][storage][what].values()) > 0
    assert 20 < result["rss_mb"] < 500
    assert result["readback"]["sftp"]["one_1gib"] > result["readback"]["root"]["one_1gib"]


def test_a_storage_that_fails_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(mover, "QUICK", mover.Sizes(one=mover.MIB, many=1, rounds=1))
    monkeypatch.setattr(mover, "STORAGES", {"local": "local", "sftp": "no-such-storage"})
    assert mover.main(["--quick", "--json", "--where", str(tmp_path)]) == 1
    result = json.loads(capsys.readouterr().out)
    assert set(result["failed"]) == {"sftp"}
    assert set(result["one_1gib"]) == {"local"}
