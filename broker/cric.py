"""CRIC's documents (panda queues, DDM endpoints) as files of a sites' declaration: pure, texts out.

CRIC describes more than is used here. Taken over are a queue's site, status, cores, memory, wall time, scratch space,
architecture, GPU, container runtime, kind of work and storage, and an endpoint's site, kind and address. What cannot
be taken over is said in a note, by name.
Source: the JSON that CRIC's ``pandaqueue`` and ``ddmendpoint`` queries answer, as panda-pilot reads it.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prodchain.catalog.backends import BACKENDS
from prodchain.catalog.names import STORAGE_NAME_MAX

Entry = Mapping[str, Any]

SCHEMES = {"root": "root", "xroot": "root", "davs": "https", "https": "https", "dav": "http", "http": "http"}
STATUSES = {"online": "online", "brokeroff": "drain", "test": "drain"}
ACTIVITIES = ("write_wan", "read_wan", "write_lan", "read_lan", "pw", "pr", "w", "r", "a")
"""Whose protocol is taken first: the mover comes from outside."""
STORED_AT = ("write_lan", "pw", "write_wan", "read_lan", "pr")
"""Which of a queue's storages is its own."""
WALLTIME_S, MEMORY_MB = 86400, 2000
"""For queues that CRIC sets no limit to."""


@dataclass
class Imported:
    """Texts by file name, and what was left out or changed, in words."""

    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def convert(queues: Any, endpoints: Any, home: str | None = None) -> Imported:
    """The declaration that two CRIC documents (JSON as read: a table by name, or a list) amount to.

    ``home`` is a CRIC endpoint's name; without it the first storage that a queue uses becomes home.
    """
    result = Imported()
    sites: dict[str, list[str]] = defaultdict(list)
    storages = dict(_storages(_entries(endpoints), sites, result.notes))
    used = list(_queues(_entries(queues), storages, sites, result.notes))
    chosen = name_of(home) if home else next(iter(used), next(iter(storages.values()), None))
    if home and chosen not in storages.values():
        result.notes.append(f"{home}: is no endpoint that was imported, so it cannot be home")
    elif chosen:
        result.files["00-home.toml"] = f"home = {json.dumps(chosen)}\n"
    for site, tables in sorted(sites.items()):
        result.files[f"{site}.toml"] = "\n".join([f"[site.{site}]\n", *tables])
    return result


def name_of(text: str) -> str:
    """A CRIC name as a name of ours: upper case, words joined by single ``-`` or ``_``."""
    name = re.sub(r"[^A-Z0-9_]+", "-", text.upper())
    return re.sub(r"[-_]*-[-_]*", "-", re.sub("_+", "_", name)).strip("-_")


def _entries(document: Any) -> list[tuple[str, Entry]]:
    """CRIC answers a table by name, or (with other presets) a list whose entries name themselves."""
    named = document.items() if isinstance(document, Mapping) else ((None, entry) for entry in document)
    return sorted((str(name or entry.get("nickname") or entry.get("name")), entry) for name, entry in named)


def _site(entry: Entry) -> str | None:
    found = next((entry[key] for key in ("atlas_site", "site", "rc_site", "rcsite") if entry.get(key)), None)
    return name_of(str(found)) if found else None


def _storages(
    entries: list[tuple[str, Entry]], sites: dict[str, list[str]], notes: list[str]
) -> Iterator[tuple[str, str]]:
    """CRIC name and our name of each storage that can be used."""
    taken: dict[str, str] = {}
    urls: dict[str, str] = {}
    for cric, entry in entries:
        name, site, url = name_of(cric), _site(entry), _url(entry)
        refusal = (
            f"its state is {entry['state']}"
            if str(entry.get("state", "ACTIVE")).upper() != "ACTIVE"
            else "it names no site"
            if site is None
            else "its files are not where their names say (is_deterministic is false)"
            if entry.get("is_deterministic") is False
            else f"none of its protocols is one of {', '.join(BACKENDS)}"
            if url is None
            else f"its name has more than {STORAGE_NAME_MAX} characters"
            if len(name) > STORAGE_NAME_MAX
            else f"its name becomes {name}, as that of {taken[name]}"
            if name in taken
            else f"its address is that of {urls[url]}"
            if url in urls
            else None
        )
        if refusal or site is None or url is None:
            notes.append(f"endpoint {cric}: left out, {refusal}")
            continue
        if name != cric:
            notes.append(f"endpoint {cric}: is {name} here")
        taken[name] = urls[url] = cric
        sites[site].append(_storage_table(site, name, url, entry))
        yield cric, name


def _storage_table(site: str, name: str, url: str, entry: Entry) -> str:
    tape = entry.get("is_tape") or "TAPE" in str(entry.get("type", "")).upper()
    attributes = {
        key: re.sub(r"[^A-Za-z0-9._-]+", "-", str(entry[key]))
        for key in ("cloud", "token", "country")
        if entry.get(key)
    }
    lines = [f"[site.{site}.storage.{name}]", f"url = {json.dumps(url)}"]
    lines += ['kind = "tape"'] if tape else []
    if attributes:
        lines.append(
            f"attributes = {{{', '.join(f'{key} = {json.dumps(value)}' for key, value in attributes.items())}}}"
        )
    return "\n".join([*lines, ""])


def _url(entry: Entry) -> str | None:
    """The address of the first protocol that the mover speaks."""
    protocols = entry.get("arprotocols") or entry.get("rprotocols") or entry.get("aprotocols") or {}
    for activity in (*ACTIVITIES, *sorted(set(protocols) - set(ACTIVITIES))):
        for protocol in protocols.get(activity) or ():
            endpoint, path = (
                (protocol.get("endpoint"), protocol.get("path"))
                if isinstance(protocol, Mapping)
                else (protocol[0], protocol[-1])
            )
            scheme, _, host = str(endpoint or "").partition("://")
            if scheme in SCHEMES and host.strip("/") and str(path or "").strip("/"):
                return f"{SCHEMES[scheme]}://{host.strip('/')}/{'/' if SCHEMES[scheme] == 'root' else ''}" + str(
                    path
                ).strip("/")
    return None


def _queues(
    entries: list[tuple[str, Entry]], storages: Mapping[str, str], sites: dict[str, list[str]], notes: list[str]
) -> Iterator[str]:
    """The storage of each queue that can be used."""
    taken: dict[str, str] = {}
    for cric, entry in entries:
        name, site = name_of(cric), _site(entry)
        at = entry.get("astorages") or {}
        storage = next((storages[s] for key in STORED_AT for s in at.get(key) or () if s in storages), None)
        refusal = (
            f"its state is {entry['state']}"
            if str(entry.get("state", "ACTIVE")).upper() != "ACTIVE"
            else "it is virtual"
            if entry.get("is_virtual")
            else "it names no site"
            if site is None
            else "none of its storages was imported"
            if storage is None
            else f"its name becomes {name}, as that of {taken[name]}"
            if name in taken
            else None
        )
        if refusal or site is None or storage is None:
            notes.append(f"queue {cric}: left out, {refusal}")
            continue
        if name != cric:
            notes.append(f"queue {cric}: is {name} here")
        taken[name] = cric
        sites[site].append(_queue_table(site, name, storage, entry))
        yield storage


def _queue_table(site: str, name: str, storage: str, entry: Entry) -> str:
    cores = _number(entry, "corecount", 1)
    lines = [
        f"[site.{site}.queue.{name}]",
        f"storage = {json.dumps(storage)}",
        f"status = {json.dumps(STATUSES.get(str(entry.get('status', 'online')).lower(), 'offline'))}",
        f"slots = {_number(entry, 'nodes', 1)}",
        f"cores = {cores}",
        f"memory_mb = {_number(entry, 'maxrss', MEMORY_MB * cores)}",
        f"walltime_s = {_number(entry, 'maxtime', WALLTIME_S)}",
    ]
    if scratch := _number(entry, "maxwdir", 0):
        lines.append(f"scratch_mb = {scratch}")
    kinds = _architectures(entry)
    if named := kinds.get("cpu"):
        lines.append(f"architecture = {json.dumps(named)}")
    if "gpu" in kinds:
        lines.append("gpus = 1")
    if re.search("singularity|apptainer", str(entry.get("container_type") or "")):
        lines.append('software = ["apptainer"]')
    if entry.get("type") in ("production", "analysis"):
        lines.append(f"allow = {json.dumps([entry['type']])}")
    return "\n".join([*lines, ""])


def _architectures(entry: Entry) -> dict[str, str]:
    """What CRIC lists as ``architectures``: the first named one of each type (cpu, gpu); empty: any."""
    found: dict[str, str] = {}
    for each in entry.get("architectures") or ():
        named = next((name for name in each.get("arch") or () if re.fullmatch(r"[A-Za-z0-9_.-]+", str(name))), "")
        found.setdefault(str(each.get("type", "")).lower(), named)
    return found


def _number(entry: Entry, key: str, otherwise: int) -> int:
    """CRIC writes 0 or null where there is no limit."""
    try:
        return int(entry.get(key) or 0) or otherwise
    except (TypeError, ValueError):
        return otherwise
