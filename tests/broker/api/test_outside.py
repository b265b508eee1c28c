"""What comes from outside: whatever a text is, the answer is a refusal in words and never a mistake of the server."""

import json
from typing import Any

import pytest

from .conftest import Broker, bearer, problem

TEXTS = ("", " ", "\0", "a\0b", "\ud800", "é" * 30, "../../etc/passwd", "a:b:c", "x" * 100_000, "'; DROP TABLE file")
TIMES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00", "never", 1e300, -1)
FILE = {"name": "f", "guid": "0" * 32, "bytes": 1, "adler32": "00000001"}

DOCUMENTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "/api/datasets": ({"name": "user.ann.new"}, ("name",)),
    "/api/datasets/user.ann.d/files": ({}, ("files*", "datasets*")),
    "/api/datasets/user.ann.d/subscribe": ({"to": "*", "sources": "*"}, ("to", "sources")),
    "/api/datasets/user.ann.d/bad": (
        {"storage": "A-DISK", "files": ["f"], "reason": "r"},
        ("storage", "files*", "reason"),
    ),
    "/api/datasets/user.ann.d/verify": ({}, ("at",)),
    "/api/replicas": ({"storage": "A-DISK", "files": [{"did": "a:b", "bytes": 1, "adler32": "0" * 8}]}, ("storage",)),
    "/api/uploads": ({"dataset": "user.ann.up", "files": [FILE]}, ("dataset", "storage")),
    "/api/quotas/work": ({"subject": "user:ann", "running": 1}, ("subject", "reason")),
    "/api/groups/higgs/add": ({"user": "ann"}, ("user", "reason")),
    "/api/queues/A-BATCH/drain": ({}, ("reason",)),
    "/api/quotas": ({"owner": "ann", "storage": "A-DISK", "limit_bytes": 1}, ("owner", "storage")),
}


@pytest.fixture
async def admin(broker: Broker) -> str:
    token = await broker.token("admin", "root")
    assert (await broker.post("/api/datasets", {"name": "user.ann.d"}, token)).status_code == 201
    return token


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_no_text_in_a_document_breaks_the_server(path: str, broker: Broker, admin: str) -> None:
    document, fields = DOCUMENTS[path]
    for field in fields:
        for text in TEXTS:
            value = [text] if field.endswith("*") else text
            answer = await broker.client.post(
                path,
                content=_json(document | {field.removesuffix("*"): value}),
                headers=bearer(admin) | {"Content-Type": "application/json"},
            )
            assert answer.status_code < 500, (field, text[:20], answer.text)
            assert len(answer.content) < 20_000
            if answer.status_code >= 400:
                problem(answer)


@pytest.mark.parametrize("name", ["f/../../x", "..", ".hidden", "a/b", "a\0", "a%2fb", "-rf", "x" * 251, "a b"])
async def test_no_name_of_a_file_leads_out_of_its_storage(name: str, broker: Broker, admin: str) -> None:
    upload = {"dataset": "user.ann.up", "files": [FILE | {"name": name}]}
    assert (await broker.post("/api/uploads", upload, admin)).status_code in (400, 422)
    claim = {"storage": "A-DISK", "files": [{"did": f"user.ann:{name}", "bytes": 1, "adler32": "0" * 8}]}
    assert (await broker.post("/api/replicas", claim, admin)).status_code in (400, 422)


@pytest.mark.parametrize("time", TIMES)
async def test_times_out_of_the_calendar_are_refused_or_kept(time: Any, broker: Broker, admin: str) -> None:
    for path in ("/api/datasets/user.ann.d/lifetime", "/api/datasets"):
        answer = await broker.post(
            path, {"expires_at": time} | ({"name": "user.ann.t"} if path.endswith("s") else {}), admin
        )
        assert answer.status_code < 500, answer.text
    answer = await broker.get("/api/datasets", since=str(time))
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "meta", [{"a": "\0"}, {"a": "\ud800"}, {"a": float("nan")}, {"\0": 1}, {"a": "x" * 100_000}, []]
)
async def test_remarks_of_a_dataset_are_json_and_short(meta: Any, broker: Broker, admin: str) -> None:
    answer = await broker.client.post(
        "/api/datasets",
        content=_json({"name": "user.ann.m", "meta": meta}),
        headers=bearer(admin) | {"Content-Type": "application/json"},
    )
    assert answer.status_code in (400, 422), answer.text
    assert len(answer.content) < 2000


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
