"""S3 over obstore; reading over plain ranges (ranges.py) at URLs that obstore signs."""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from zlib_ng import zlib_ng

from ..errors import BadStorage, CatalogError, FileMissing, StorageDenied, StorageFull, StorageTimeout
from . import base
from .base import BLOCK, Entry, Told
from .credentials import renewal
from .local import created, explained
from .ranges import Reader, Refused

ONE_PUT = 16 * 1024 * 1024
"""Bytes up to which a file is stored in one request."""

AT_ONCE = 3
"""Parts of one file on their way."""

MOST_PARTS = 9_000
"""S3 takes 10,000."""

MOST_COPIED = 5 * 1024**3
"""Bytes that S3 copies by itself in one request."""

_SIGNED_FOR = timedelta(hours=12)

_FULL = ("507", "InsufficientStorage", "QuotaExceeded", "StorageFull", "EntityTooLarge")
_DENIED = ("HTTP 401", "HTTP 403", "code: 401", "code: 403", "AccessDenied", "InvalidAccessKeyId", "ExpiredToken")


class _Object(NamedTuple):
    bucket: str
    key: str


class S3:
    """Buckets of one endpoint. A path is ``/BUCKET/KEY``."""

    renames = False
    third_party: str | None = None

    def __init__(self, url: str, credentials: dict[str, Any]) -> None:
        self.url = url
        self._endpoint = url.removeprefix("s3+")
        self._credentials = credentials
        ca = credentials.get("ca")
        self._reader = Reader(self._endpoint, ssl.create_default_context(cafile=ca) if ca else None)
        self._bucket = lru_cache(maxsize=64)(self._open)

    def size(self, path: str) -> int | None:
        at = _object(path)
        try:
            with self._explained(path, "look at"):
                return int(obstore.head(self._bucket(at.bucket), at.key)["size"])
        except FileMissing:
            return None

    def digest(self, path: str, bytes: int | None = None) -> str | None:  # noqa: A002
        return None  # an ETag is a sum of sums, and no server keeps an adler32

    def read(self, path: str, start: int = 0) -> Iterator[bytes]:
        with self._explained(path, "read"):
            yield from self._reader.blocks(self._target(path), start)

    def write(self, path: str, blocks: Iterable[bytes], bytes: int) -> None:  # noqa: A002
        self._store(path, _all(blocks, bytes, self.url + path), bytes)

    def get(self, path: str, target: Path, told: Told) -> str:
        with created(target) as file, self._explained(path, "read"):
            return self._reader.fetch(self._target(path), file, str(target), told)

    def put(self, source: Path, path: str, told: Told) -> str:
        with explained(str(source), "read"):
            there = source.stat().st_size
        reading = _Reading(source, told)
        self._store(path, _all(reading, there, str(source)), there)
        return f"{reading.adler32:08x}"

    def copy(self, source: str, target: str) -> bool:
        at, to = _object(source), _object(target)
        if at.bucket != to.bucket or (self.size(source) or 0) > MOST_COPIED:
            return False
        with self._explained(source, "copy"):
            obstore.copy(self._bucket(at.bucket), at.key, to.key)
        return True

    def pull(self, source_url: str, path: str, bytes: int) -> bool:  # noqa: A002
        return False

    def rename(self, source: str, target: str) -> None:
        raise BadStorage(
            f"S3 cannot rename {self.url}{source}", object=self.url + source, hint="copy it, then delete it"
        )

    def delete(self, path: str) -> None:
        at = _object(path)
        with self._explained(path, "delete"):
            try:
                obstore.delete(self._bucket(at.bucket), at.key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise

    def list(self, folder: str) -> Iterator[Entry]:
        at = _object(folder)
        with self._explained(folder, "list"):
            for entries in obstore.list(self._bucket(at.bucket), at.key.rstrip("/") or None):
                for entry in entries:
                    yield Entry(f"/{at.bucket}/{entry['path']}", entry["size"])

    def free(self, folder: str) -> int | None:
        return None

    def opening(self, path: str) -> tuple[str, dict[str, Any]]:
        public: dict[str, Any] = {} if "key" in self._credentials else {"anon": True}
        return f"s3:/{path}", {"endpoint_url": self._endpoint, **public}

    def _store(self, path: str, blocks: Iterable[bytes], bytes_: int) -> None:
        """One request, or parts side by side that become a file together; what breaks off leaves no parts."""
        at = _object(path)
        bucket = self._bucket(at.bucket)
        with self._explained(path, "write"):
            if bytes_ <= ONE_PUT:
                obstore.put(bucket, at.key, b"".join(blocks), use_multipart=False)
            else:
                part, at_once = _parts(bytes_)
                obstore.put(bucket, at.key, iter(blocks), chunk_size=part, max_concurrency=at_once)

    def _target(self, path: str) -> str:
        """Path and query of the signed URL of an object."""
        if "key" not in self._credentials:
            return quote(path)
        at = _object(path)
        with self._explained(path, "sign"):
            url = urlsplit(obstore.sign(self._bucket(at.bucket), "GET", at.key, _SIGNED_FOR))
        return f"{url.path}?{url.query}"

    def _open(self, bucket: str) -> S3Store:
        known = self._credentials
        patience = timedelta(seconds=base.TIMEOUT_S)
        options: dict[str, Any] = {
            "allow_http": self._endpoint.startswith("http:"),
            "timeout": patience,
            "connect_timeout": min(patience, timedelta(seconds=10)),
        }
        if "ca" in known:
            options["root_certificate"] = Path(known["ca"]).read_bytes()
        names = {"access_key_id": "key", "secret_access_key": "secret", "session_token": "token"}
        return S3Store(
            bucket,
            endpoint=self._endpoint,
            region=known.get("region", "us-east-1"),
            virtual_hosted_style_request=False,
            skip_signature="key" not in known,
            unsigned_payload=self._endpoint.startswith("https:"),  # TLS guards it; over http the signature does
            client_options=options,  # type: ignore[arg-type]
            retry_config={
                "max_retries": 2,
                "retry_timeout": patience,
                "backoff": {
                    "base": 2,
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=2),
                },
            },
            **{name: known[key] for name, key in names.items() if key in known},
        )

    @contextmanager
    def _explained(self, path: str, doing: str) -> Iterator[None]:
        try:
            yield
        except CatalogError:
            raise
        except (BaseError, Refused, OSError) as error:
            raise _explanation(error, self.url, path, doing) from error


class _Reading:
    """A local file in blocks, summed up while it is read."""

    def __init__(self, source: Path, told: Told) -> None:
        self.adler32 = 1
        self._source = source
        self._told = told

    def __iter__(self) -> Iterator[bytes]:
        with explained(str(self._source), "read"), self._source.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                self.adler32 = zlib_ng.adler32(block, self.adler32)
                self._told(len(block))
                yield block


def _parts(bytes_: int) -> tuple[int, int]:
    """Bytes of a part, and how many may be on their way without more memory for larger files."""
    part = max(BLOCK, -(-bytes_ // MOST_PARTS))
    return part, max(1, AT_ONCE * BLOCK // part)


def _object(path: str) -> _Object:
    bucket, _, key = path.lstrip("/").partition("/")
    return _Object(bucket, key)


def _all(blocks: Iterable[bytes], bytes_: int, name: str) -> Iterator[bytes]:
    """The blocks; BadStorage instead of their end if they are not ``bytes_`` in all, so that no part is stored."""
    got = 0
    for block in blocks:
        got += len(block)
        yield block
    if got != bytes_:
        raise BadStorage(f"{name}: {got} bytes came, not {bytes_}", object=name, hint="is somebody writing to it?")


def _explanation(error: Exception, server: str, path: str, doing: str) -> CatalogError:
    """What a server's refusal means."""
    url = server + path
    words = " ".join(str(error).split("Debug source")[0].split())
    if "NoSuchBucket" in words:
        return BadStorage(f"there is no bucket for {url}", object=url, hint="make it, or correct the storage's URL")
    if isinstance(error, FileNotFoundError) or "HTTP 404" in words:
        return FileMissing(f"there is no {url}", object=url, hint="was it deleted at the storage?")
    if any(word in words for word in _DENIED):
        return StorageDenied(
            f"not allowed to {doing} {url}: {words}", object=url, hint=f"{renewal(server)}, or look at its policy"
        )
    if any(word in words for word in _FULL):
        return StorageFull(
            f"no space left to {doing} {url}: {words}", object=url, hint="free space, or raise the quota"
        )
    if isinstance(error, TimeoutError) or "kind: Timeout" in str(error):
        return StorageTimeout(f"no answer, trying to {doing} {url}: {words}", object=url, hint="look at the server")
    return BadStorage(f"cannot {doing} {url}: {words}", object=url, hint="check that the storage answers")
