"""``s3+https://HOST/BUCKET/KEY``: S3 with the standard library, requests signed by AWS's version 4.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from .errors import StorageError
from .store import Sink, Source
from .stores_http import Http, Request

MOST = 5 * 1024**3
"""Bytes that S3 takes in one request."""
EMPTY = hashlib.sha256(b"").hexdigest()
SAFE = "/-_.~"
UNSIGNED = "UNSIGNED-PAYLOAD"


class S3Store:
    """Buckets of one endpoint, path-style. A path is ``/BUCKET/KEY``."""

    renames = False
    late = False

    def __init__(self, server: str, credentials: Mapping[str, str]) -> None:
        self._endpoint = server[len("s3+") :]
        self._credentials = credentials
        self._http = Http(self._endpoint, credentials, server)

    def get(self, path: str, sink: Sink) -> None:
        self._http.get(self._request("GET", path), sink)

    def put(self, path: str, source: Source) -> None:
        """One request; the object appears when all of it has come."""
        if source.size > MOST:
            raise StorageError(
                f"{source.path.name} has {source.size} bytes, and a pilot stores at most {MOST} in an S3 object",
                object=self._endpoint + path,
                hint="let jobs make smaller files, or give the queue a storage with another protocol",
            )
        request = self._request("PUT", path, self._payload(source))
        self._http.status(request._replace(source=source), 200)

    def size(self, path: str) -> int | None:
        with self._http.ask(self._request("HEAD", path), 200, 404) as answer:
            return int(answer.getheader("Content-Length") or 0) if answer.status == 200 else None

    def adler32(self, path: str) -> str | None:
        return None  # no server keeps it

    def rename(self, path: str, target: str) -> None:
        raise StorageError("S3 does not rename", object=self._endpoint + path)

    def delete(self, path: str) -> None:
        self._http.status(self._request("DELETE", path), 200, 204, 404)

    def cut(self) -> None:
        self._http.cut()

    def _payload(self, source: Source) -> str:
        """What is signed of a file: over TLS nothing, else its checksum, as nobody else guards it on its way."""
        if self._endpoint.startswith("https:"):
            return UNSIGNED
        checksum = hashlib.sha256()
        for block in source.blocks():
            checksum.update(block)
        return checksum.hexdigest()

    def _request(self, method: str, path: str, payload: str = EMPTY) -> Request:
        url = f"{self._endpoint}/{quote(path.lstrip('/'), safe=SAFE)}"
        headers = {"x-amz-content-sha256": payload}
        if "key" in self._credentials:
            headers = signed(method, url, headers, self._credentials, time.time())
        return Request(method, url, headers)


def signed(
    method: str, url: str, headers: Mapping[str, str], credentials: Mapping[str, str], now: float
) -> dict[str, str]:
    """The headers and ``Authorization``; without a query. ``now`` in seconds since 1970."""
    at, parts = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)), urlsplit(url)
    sent = {**headers, "x-amz-date": at}
    if "token" in credentials:
        sent["x-amz-security-token"] = credentials["token"]
    all_ = {"host": parts.netloc, **{name.lower(): value.strip() for name, value in sent.items()}}
    names = ";".join(sorted(all_))
    lines = [f"{name}:{all_[name]}\n" for name in sorted(all_)]
    asked = "\n".join([method, parts.path, "", "".join(lines), names, all_["x-amz-content-sha256"]])
    scope = f"{at[:8]}/{credentials.get('region', 'us-east-1')}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(asked.encode()).hexdigest()])
    key = f"AWS4{credentials.get('secret', '')}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    about = f"Credential={credentials['key']}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**sent, "Authorization": f"AWS4-HMAC-SHA256 {about}"}
