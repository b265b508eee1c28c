"""A Rucio server as a catalog, with the ways of Rucio that differ from ours made up for.

What Rucio does otherwise, seen with its server 41.5: a search knows one scope and no ``?``; shallow counters of a
dataset at an RSE are kept by a daemon, so they are counted (``deep``); listing replicas sorts them by distance, which
takes 10 ms for each file unless it is asked for one RSE at a time; adding replicas of a known file does not compare
checksums; a replica that was marked unavailable stays so when it is added again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from .. import names
from ..errors import DatasetClosed, DatasetConflict, DatasetNotFound, FileConflict
from ..files import NewFile
from ..names import Did
from ..port import Listed, Located
from .client import BULK, Client

T = TypeVar("T")
AVAILABLE, UNAVAILABLE = "A", "U"


class Attachment(NamedTuple):
    """Members that join a dataset or container; ``rse``: where copies of these files are."""

    did: Did
    members: list[dict[str, Any]]
    rse: str | None = None


def item(did: Did) -> dict[str, Any]:
    return {"scope": did.scope, "name": did.name}


def did_of(line: dict[str, Any]) -> Did:
    return Did(line["scope"], line["name"])


def file_item(file: NewFile, *, meta: bool = True) -> dict[str, Any]:
    """A file as Rucio wants it; its metadata costs Rucio ten times the rest, and counts for new files only."""
    fields = item(file.did) | {"bytes": file.bytes, "adler32": file.adler32}
    if not meta:
        return fields
    return fields | {"meta": {"guid": file.guid.hex} | ({"events": file.events} if file.events else {})}


class RucioCatalog:
    """Implements ``port.Catalog``; storages are named by their RSEs."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._scopes: set[str] = set()

    async def create(self, did: Did, *, container: bool = False) -> None:
        known = (await self.known([did])).get(did)
        sort = "CONTAINER" if container else "DATASET"
        if known is None:
            await self.make_scopes([did.scope])
            await self.make([item(did) | {"type": sort}])
        elif known["did_type"] != sort:
            raise DatasetConflict(
                f"{did} is a {known['did_type'].lower()} in Rucio", object=str(did), hint="choose another name"
            )

    async def register(self, storage: str, files: Sequence[NewFile]) -> None:
        await self.make_scopes({file.did.scope for file in files})
        for some in slices(files, BULK):
            known = await self.known([file.did for file in some])
            for file in some:
                if file.did in known:
                    refuse_other_content(file, known[file.did])
            fields = [file_item(file, meta=file.did not in known) for file in some]
            await self.add_replicas(storage, fields)
            await self.set_state(storage, [file.did for file in some if file.did in known], AVAILABLE)

    async def add(self, did: Did, members: Sequence[Did]) -> None:
        known = await self.get(did)
        if not known.open:
            inside = {did_of(line) for line in await self.content(did)}
            if set(members) - inside:
                raise DatasetClosed(f"{did} is closed", object=str(did), hint="put the files into a new dataset")
            return
        for some in slices(members, BULK):
            await self.attach([Attachment(did, [item(member) for member in some])])

    async def close(self, did: Did) -> None:
        if (await self.get(did)).open:
            await self.client.call("PUT", "dids", *did, "status", about=str(did), body={"open": False})

    async def get(self, did: Did) -> Listed:
        line = (await self.client.call("GET", "dids", *did, about=str(did))).json()
        if line["type"] == "FILE":
            raise DatasetNotFound(f"{did} is a file in Rucio", object=str(did), hint="name a dataset")
        return Listed(did, line["type"] == "CONTAINER", line["open"])

    async def find(self, pattern: str) -> list[Did]:
        wanted = names.parse_pattern(pattern)
        scopes = (await self.client.call("GET", "scopes", "", about=self.client.url)).json()
        fits = as_regex(wanted.name)
        # Rucio knows '*' only, so what it finds is looked through once more.
        query = {"name": wanted.name.replace("?", "*"), "type": "collection"}
        found = [
            Did(scope, name)
            for scope in scopes
            if as_regex(wanted.scope).fullmatch(scope)
            for name in await self.client.lines("GET", "dids", scope, "dids", "search", about=pattern, query=query)
            if fits.fullmatch(name)
        ]
        return sorted(found, key=lambda did: (did.name, did.scope))

    async def files(self, did: Did) -> list[Located]:
        members = await self.content(did)
        urls: dict[Did, dict[str, str]] = {did_of(line): {} for line in members}
        for rse in await self.counts(did):
            for line in await self.replicas_at(rse, [did]):
                for url in line["rses"].get(rse, [])[:1]:
                    if line["states"][rse] == "AVAILABLE":
                        urls[did_of(line)][rse] = url
        found = [Located(did_of(each), each["bytes"], each["adler32"], urls[did_of(each)]) for each in members]
        return sorted(found, key=lambda file: file.did.name)

    async def completeness(self, did: Did) -> dict[str, tuple[int, int]]:
        length = len(await self.content(did))
        return {rse: (files, length) for rse, files in (await self.counts(did)).items()}

    # What follows is Rucio's own way of speaking, for the export.

    async def known(self, dids: Sequence[Did]) -> dict[Did, dict[str, Any]]:
        """Metadata of what Rucio knows of these."""
        lines: list[dict[str, Any]] = []
        for some in slices(dids, BULK):
            body = {"dids": [item(did) for did in some]}
            lines += await self.client.lines("POST", "dids", "bulkmeta", about=str(some[0]), body=body)
        return {did_of(line): line for line in lines}

    async def make_scopes(self, scopes: Iterable[str]) -> None:
        """Make the scopes that Rucio does not have, owned by our account."""
        if set(scopes) <= self._scopes:
            return
        self._scopes = set((await self.client.call("GET", "scopes", "", about=self.client.url)).json())
        for scope in sorted(set(scopes) - self._scopes):
            await self.client.call("POST", "accounts", self.client.account, "scopes", scope, about=f"scope {scope}")
            self._scopes.add(scope)

    async def make(self, dids: list[dict[str, Any]]) -> None:
        """Make datasets and containers that are not there yet."""
        for some in slices(dids, BULK):
            await self.client.call("POST", "dids", about=str(did_of(some[0])), body=list(some))

    async def attach(self, attachments: Sequence[Attachment]) -> None:
        """Let members join; those with an RSE are registered there first, in the same transaction of Rucio."""
        body = {
            "ignore_duplicate": True,
            "attachments": [
                item(each.did) | {"dids": each.members} | ({"rse": each.rse} if each.rse else {})
                for each in attachments
            ],
        }
        await self.client.call("POST", "dids", "attachments", about=str(attachments[0].did), body=body)

    async def detach(self, did: Did, members: Sequence[Did]) -> None:
        for some in slices(members, BULK):
            body = {"dids": [item(member) for member in some]}
            await self.client.call("DELETE", "dids", *did, "dids", about=str(did), body=body)

    async def content(self, did: Did) -> list[dict[str, Any]]:
        """What is directly in a dataset (files, with size and checksum) or in a container."""
        await self.get(did)
        return await self.client.lines("GET", "dids", *did, "dids", about=str(did))

    async def counts(self, did: Did) -> dict[str, int]:
        """Available files of a dataset at each RSE that has one."""
        query = {"deep": "True"}
        lines = await self.client.lines("GET", "replicas", *did, "datasets", about=str(did), query=query)
        return {line["rse"]: line["available_length"] for line in lines if line["available_length"]}

    async def replicas_at(self, rse: str, dids: Sequence[Did]) -> list[dict[str, Any]]:
        """Files that have a replica there, whatever its state."""
        body = {"dids": [item(did) for did in dids], "rse_expression": rse, "all_states": True, "sort": "random"}
        lines = await self.client.lines("POST", "replicas", "list", about=rse, body=body)
        return [line for line in lines if rse in line["states"]]

    async def add_replicas(self, rse: str, files: Sequence[dict[str, Any]]) -> None:
        for some in slices(files, BULK):
            await self.client.call("POST", "replicas", about=rse, body={"rse": rse, "files": list(some)})

    async def set_state(self, rse: str, dids: Sequence[Did], state: str) -> None:
        for some in slices(dids, BULK):
            files = [item(did) | {"state": state} for did in some]
            await self.client.call("PUT", "replicas", about=rse, body={"rse": rse, "files": files})


def refuse_other_content(file: NewFile, known: dict[str, Any]) -> None:
    """FileConflict if Rucio knows the name with other content."""
    if (known["bytes"], known["adler32"]) != (file.bytes, file.adler32):
        raise FileConflict(
            f"{file.did} is in Rucio with {known['bytes']} bytes and adler32 {known['adler32']},"
            f" not with {file.bytes} bytes and adler32 {file.adler32}",
            object=str(file.did),
            hint="content never changes under a name: see which of the two is right",
        )


def as_regex(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))


def slices(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (things[start : start + size] for start in range(0, len(things), size))
