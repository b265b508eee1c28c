"""The part of the client that is about data: datasets, wishes, transfers, storages. See client.Client."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

Document = dict[str, Any]

PAGE = 1000
LONG_S = 3600.0
"""Time for what reads whole files at the other end before it answers."""


class Listing:
    """The items of a list, fetched page by page as they are read; ``next`` then continues it, None at its end."""

    def __init__(self, page: Callable[[Mapping[str, Any]], Document], limit: int | None, after: object) -> None:
        self._page = page
        self._left = limit
        self.next = after

    def __iter__(self) -> Iterator[Document]:
        while self._left is None or self._left > 0:
            page = self._page({"limit": min(self._left or PAGE, PAGE), "after": self.next})
            self._left = None if self._left is None else self._left - len(page["items"])
            self.next = page.get("next")
            yield from page["items"]
            if self.next is None:
                return


class DataCalls:
    """Calls about data, over ``_json`` of the client."""

    def _json(
        self,
        method: str,
        path: str,
        asked: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        again: bool = False,
        timeout_s: float | None = None,
    ) -> Document:
        raise NotImplementedError

    def _listing(self, path: str, asked: Mapping[str, Any], limit: int | None, after: object = None) -> Listing:
        return Listing(lambda page: self._json("GET", path, {**asked, **page}), limit, after)

    # Datasets

    def dataset_listing(
        self, pattern: str | None = None, *, limit: int | None = 100, after: object = None, **filters: Any
    ) -> Listing:
        """Datasets that fit. Filters are those of ``GET /api/datasets``; None and False are left out."""
        return self._listing("/api/datasets", _asked(pattern=pattern, **filters), limit, after)

    def datasets(self, pattern: str | None = None, *, limit: int | None = 100, **filters: Any) -> list[Document]:
        return list(self.dataset_listing(pattern, limit=limit, **filters))

    def dataset_facets(self, pattern: str | None = None, **filters: Any) -> Document:
        """How many datasets there are for each value of each field, among those that fit."""
        return self._json("GET", "/api/datasets/facets", _asked(pattern=pattern, **filters))

    def dataset(self, did: str) -> Document:
        return self._json("GET", _of(did))

    def dataset_files(self, did: str, *, limit: int | None = None) -> Iterator[Document]:
        """The files with the URLs of their replicas, page by page."""
        return iter(self._listing(_of(did, "files"), {}, limit))

    def dataset_content(self, did: str, *, limit: int | None = None) -> Iterator[Document]:
        """What is in a container."""
        return iter(self._listing(_of(did, "content"), {}, limit))

    def dataset_story(self, did: str, *, limit: int | None = None) -> list[Document]:
        """What happened to it, in order."""
        return list(self._listing(_of(did, "story"), {}, limit))[::-1]

    def dataset_diff(self, did: str, other: str) -> Document:
        """What ``other`` has more and less than the dataset: the sums, and all files that changed."""
        path, asked = _of(did, "diff"), {"other": other}
        first = self._json("GET", path, asked)
        rest = self._listing(path, asked, None, first["next"]) if first["next"] is not None else ()
        return {**first, "items": [*first["items"], *rest], "next": None}

    def dataset_lineage(
        self, did: str, *, up: int | None = None, down: int | None = None, form: str | None = None
    ) -> Document:
        """What it was made from and what of it; ``form`` prov: as PROV-JSON."""
        return self._json("GET", _of(did, "lineage"), {"up": up, "down": down, "form": form})

    def dataset_why(self, did: str, at: str, *, limit: int = 100) -> Document:
        return self._json("GET", _of(did, "why"), {"at": at, "limit": limit})

    def create_dataset(self, name: str, kind: str, **more: Any) -> Document:
        return self._json("POST", "/api/datasets", body={"name": name, "kind": kind, **_set(more)}, again=True)

    def add_to_dataset(
        self, did: str, *, files: Sequence[str] = (), datasets: Sequence[str] = (), dry_run: bool = False
    ) -> Document:
        """Let known files join a dataset, or datasets a container."""
        body = {"files": list(files), "datasets": list(datasets), "dry_run": dry_run}
        return self._json("POST", _of(did, "files"), body=body, again=True)

    def close_dataset(self, did: str, *, dry_run: bool = False) -> Document:
        return self._change(did, "close", dry_run)

    def new_version(self, did: str, *, dry_run: bool = False) -> Document:
        """Not repeated when the connection is lost: each call makes a version."""
        return self._change(did, "new-version", dry_run, again=False)

    def delete_dataset(self, did: str, *, dry_run: bool = False) -> Document:
        return self._change(did, "delete", dry_run)

    def undelete_dataset(self, did: str, *, dry_run: bool = False) -> Document:
        return self._change(did, "undelete", dry_run)

    def set_lifetime(self, did: str, expires_at: str | None, *, dry_run: bool = False) -> Document:
        """``expires_at`` None: for ever."""
        return self._change(did, "lifetime", dry_run, expires_at=expires_at)

    def declare_bad(
        self, did: str, storage: str, files: Sequence[str], reason: str, *, dry_run: bool = False
    ) -> Document:
        """Copies that are damaged or gone: replaced from good ones where there are any, else the files are lost."""
        return self._change(did, "bad", dry_run, storage=storage, files=list(files), reason=reason)

    def verify_dataset(self, did: str, *, at: str | None = None, after: int | None = None) -> Document:
        """Read copies again and compare: as many files as fit in some seconds; ``next`` goes on behind them."""
        body = _set({"at": at, "after": after})
        return self._json("POST", _of(did, "verify"), body=body, again=True, timeout_s=LONG_S)

    def _change(self, did: str, verb: str, dry_run: bool, *, again: bool = True, **more: Any) -> Document:
        return self._json("POST", _of(did, verb), body={"dry_run": dry_run, **more}, again=again)

    # Wishes

    def subscribe(self, did: str, to: str, *, dry_run: bool = False, **more: Any) -> Document:
        """Wish for complete copies at the storages that ``to`` selects; ``plans`` say what that costs."""
        return self._json(
            "POST", _of(did, "subscribe"), body={"to": to, "dry_run": dry_run, **_set(more)}, again=True
        )

    def subscriptions(self, *, limit: int | None = 100, **filters: Any) -> list[Document]:
        """Newest first; filters: dataset, at, state, owner."""
        return list(self._listing("/api/subscriptions", _asked(**filters), limit))

    def subscription(self, id: int) -> Document:  # noqa: A002
        return self._json("GET", f"/api/subscriptions/{id}")

    def subscription_summary(self) -> Document:
        return self._json("GET", "/api/subscriptions/summary")

    def cancel_subscription(self, id: int) -> Document:  # noqa: A002
        return self._json("DELETE", f"/api/subscriptions/{id}", again=True)

    def quotas(self, owner: str | None = None) -> list[Document]:
        return list(self._listing("/api/quotas", {"owner": owner}, None))

    def set_quota(self, owner: str, storage: str, limit_bytes: int | None, *, dry_run: bool = False) -> Document:
        """``limit_bytes`` None: no limit."""
        body = {"owner": owner, "storage": storage, "limit_bytes": limit_bytes, "dry_run": dry_run}
        return self._json("POST", "/api/quotas", body=body, again=True)

    # Transfers and storages

    def transfers(self, *, limit: int | None = 100, **filters: Any) -> list[Document]:
        """Newest first; filters: state, at, dataset."""
        return list(self._listing("/api/transfers", _asked(**filters), limit))

    def links(self) -> list[Document]:
        return list(self._listing("/api/links", {}, None))

    def storages(self) -> list[Document]:
        return list(self._listing("/api/storages", {}, None))

    def storage(self, name: str) -> Document:
        return self._json("GET", f"/api/storages/{quote(name, safe='')}")

    def test_storage(self, name: str) -> Document:
        return self._json("POST", f"/api/storages/{quote(name, safe='')}/test")

    def audit_storage(self, name: str, *, declare: bool = False, give_up: bool = False) -> Document:
        body = {"declare": declare, "give_up": give_up}
        return self._json("POST", f"/api/storages/{quote(name, safe='')}/audit", body=body)

    def register_replicas(self, storage: str, files: list[Document]) -> Document:
        """Copies that were verified on a storage of one's own."""
        return self._json("POST", "/api/replicas", body={"storage": storage, "files": files}, again=True)

    # Uploads

    def uploads(self, upload: Mapping[str, Any]) -> Document:
        """Where to put these files; ``commit_upload`` with the same document registers them."""
        return self._json("POST", "/api/uploads", body=upload, again=True)

    def commit_upload(self, upload: Mapping[str, Any]) -> Document:
        return self._json("POST", "/api/uploads/commit", body=upload, again=True)


def _asked(**filters: Any) -> Document:
    """Filters as a query has them."""
    return {key: "true" if value is True else value for key, value in filters.items() if value not in (None, False)}


def _set(more: Mapping[str, Any]) -> Document:
    return {key: value for key, value in more.items() if value is not None}


def _of(did: str, part: str = "") -> str:
    return f"/api/datasets/{quote(did, safe=':@')}" + (f"/{part}" if part else "")
