"""A round's facts as JSON and back: everything that its decisions rest on, as small as it can be.

Like things (offers, needs, stores, links) are a table: what all of them have in common once, what differs by row,
what is as by default not at all. Job ids are ranges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any, TypeVar

from .facts import Decision, Failure, Files, Link, Need, Network, Offer, Remedy, Slot, Store, Verdict

VERSION = 1
"""Of the built-in criteria and weights: raised where the same facts give another answer."""

Thing = TypeVar("Thing")
Table = dict[str, Any]


@dataclass(frozen=True)
class Round:
    """What one call of the brokerage knew: needs in their order, the queues, and the plugins' names."""

    needs: tuple[Need, ...]
    offers: tuple[Offer, ...]
    plugins: tuple[str, ...] = ()
    version: int = VERSION


def encode(found: Round) -> dict[str, Any]:
    network = found.offers[0].network if found.offers else Network()
    document = {
        "version": found.version,
        "needs": _table([_plain_need(need) for need in found.needs], Need),
        "offers": _table([_plain(offer, Offer) for offer in found.offers], Offer),
        "stores": _table([_plain(store, Store) | {"id": id_} for id_, store in network.stores.items()], Store),
        "links": _table(
            [_plain(link, Link) | {"source": s, "target": t} for (s, t), link in network.links.items()], Link
        ),
    }
    return document | ({"plugins": list(found.plugins)} if found.plugins else {})


def decode(document: Mapping[str, Any]) -> Round:
    stores = {row.pop("id"): Store(**row) for row in _rows(document["stores"])}
    links = {(row.pop("source"), row.pop("target")): Link(**row) for row in _rows(document["links"])}
    network = Network(stores, links)
    return Round(
        tuple(_need(row) for row in _rows(document["needs"])),
        tuple(_offer(row, network) for row in _rows(document["offers"])),
        tuple(document.get("plugins", ())),
        document["version"],
    )


def ranges(jobs: Sequence[int]) -> list[int]:
    """First and number of each run of successive ids, one after the other."""
    found: list[int] = []
    for job in jobs:
        if found and found[-2] + found[-1] == job:
            found[-1] += 1
        else:
            found += [job, 1]
    return found


def ids(runs: Sequence[int]) -> tuple[int, ...]:
    return tuple(
        job for first, number in zip(runs[::2], runs[1::2], strict=True) for job in range(first, first + number)
    )


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it is stored and shown; ``criterion``, ``reason`` and ``remedy`` sum up ``failures``."""
    document: dict[str, Any] = {
        "queue": verdict.queue,
        "passed": verdict.passed,
        "criterion": verdict.criterion,
        "reason": verdict.reason,
        "remedy": verdict.remedy,
        "weight": verdict.weight,
        "missing_bytes": verdict.missing_bytes,
        "seconds": verdict.seconds,
        "failures": [
            {
                "criterion": failure.criterion,
                "reason": failure.reason,
                "remedies": [
                    {"who": remedy.who, "text": remedy.text, "change": dict(remedy.change)}
                    for remedy in failure.remedies
                ],
            }
            for failure in verdict.failures
        ],
    }
    return document


def verdict_of(document: Mapping[str, Any]) -> Verdict:
    """A stored verdict; what an older version stored says less."""
    failures = tuple(
        Failure(
            failure["reason"],
            tuple(Remedy(**remedy) for remedy in failure["remedies"]),
            failure["criterion"],
        )
        for failure in document.get("failures", ())
    )
    if not failures and not document["passed"]:
        remedy = Remedy("operator", document["remedy"])
        failures = (Failure(document["reason"], (remedy,), document["criterion"]),)
    return Verdict(
        document["queue"],
        failures,
        "" if failures else document["reason"],
        document["weight"],
        document["missing_bytes"],
        document.get("seconds", 0.0),
    )


def decision_of(queue: int | None, reason: str, verdicts: Sequence[Mapping[str, Any]]) -> Decision:
    """A stored decision; which jobs it was for is with the jobs."""
    return Decision((), queue, reason, tuple(verdict_of(verdict) for verdict in verdicts))


def _plain_need(need: Need) -> Table:
    plain = _plain(need, Need) | {"jobs": ranges(need.jobs)}
    if need.inputs:
        plain["inputs"] = [[list(each.at), each.files, each.bytes] for each in need.inputs]
    return plain


def _need(row: Table) -> Need:
    inputs = tuple(Files(tuple(at), files, bytes_) for at, files, bytes_ in row.pop("inputs", ()))
    return Need(ids(row.pop("jobs")), inputs=inputs, **_tuples(row))


def _offer(row: Table, network: Network) -> Offer:
    best = Slot(**row.pop("best", {}))
    return replace(Offer(best=best, **_tuples(row)), network=network)


def _tuples(row: Table) -> Table:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def _plain(thing: Any, kind: type[Any]) -> Table:
    """Fields that are not as by default, as JSON has them."""
    plain = {}
    for each in fields(kind):
        value = getattr(thing, each.name)
        if each.compare and value != _default(each):
            plain[each.name] = (
                _plain(value, Slot) if isinstance(value, Slot) else list(value) if isinstance(value, tuple) else value
            )
    return plain


def _default(each: Field[Any]) -> Any:
    return each.default if each.default is not MISSING else None


def _table(rows: Sequence[Table], kind: type[Any]) -> Table:
    """``all``: what is the same in every row; ``keys`` and ``rows``: the others, None where as by default."""
    if not rows:
        return {}
    names = list(dict.fromkeys(name for row in rows for name in row))
    same = {name: rows[0][name] for name in names if all(row.get(name) == rows[0].get(name) for row in rows)}
    keys = [name for name in names if name not in same]
    return {"all": same, "keys": keys, "rows": [[row.get(key) for key in keys] for row in rows]}


def _rows(table: Table) -> list[Table]:
    if not table:
        return []
    return [
        table["all"] | {key: value for key, value in zip(table["keys"], row, strict=True) if value is not None}
        for row in table["rows"]
    ]
