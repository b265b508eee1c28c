"""A lineage as W3C PROV: datasets are entities, tasks are activities, owners are agents.

PROV and not RO-Crate: a crate is a folder that holds the data, and its library needs one to write; a lineage of
datasets that stay where they are is what PROV is for, and its library has no dependencies.
"""

import json
from typing import Any

from .errors import Unavailable
from .task_views import View

NAMESPACE = "urn:prodchain:"


def prov(document: View) -> dict[str, Any]:
    """PROV-JSON (https://www.w3.org/submissions/prov-json/) of what lineage.lineage tells.

    Needs the extra ``provenance``.
    """
    try:
        from prov.model import ProvDocument
    except ImportError as error:
        raise Unavailable(
            "PROV documents need the package prov",
            object="provenance",
            hint="pip install 'prodchain[provenance]' where the server runs",
        ) from error
    result = ProvDocument()
    for space in ("dataset", "task", "user"):
        result.add_namespace(space, f"{NAMESPACE}{space}:")
    result.add_namespace("prodchain", f"{NAMESPACE}term:")
    for dataset in document["datasets"]:
        _entity(result, dataset)
    for task in document["tasks"]:
        _activity(result, task)
    parsed: dict[str, Any] = json.loads(str(result.serialize(format="json")))
    return parsed


def _entity(result: Any, dataset: View) -> None:
    name = f"dataset:{dataset['did']}"
    facts = {key: dataset[key] for key in ("version", "kind", "state", "files", "bytes", "events", "tags")}
    result.entity(name, {"prov:label": dataset["did"], "prov:type": "prodchain:Dataset"} | _terms(facts))
    _agent(result, dataset["owner"])
    if dataset["owner"]:
        result.wasAttributedTo(name, f"user:{dataset['owner']}")
    for older in dataset["revises"]:
        result.wasRevisionOf(name, f"dataset:{older}")
    for member in dataset["members"]:
        result.hadMember(name, f"dataset:{member}")


def _activity(result: Any, task: View) -> None:
    name = f"task:{task['id']}"
    over = task["changed_at"] if task["state"] in ("done", "finished", "failed", "aborted") else None
    facts = {key: task[key] for key in ("step", "state", "transformation", "first_event", "events", "destination")}
    facts |= {"command": json.dumps(task["command"]), "run": task["run"]}
    facts |= dict(zip(("first_seed", "last_seed"), task["seeds"], strict=False))
    result.activity(name, task["created_at"], over, {"prov:label": task["step"]} | _terms(facts))
    _agent(result, task["owner"])
    result.wasAssociatedWith(name, f"user:{task['owner']}")
    if task["input"]:
        result.used(name, f"dataset:{task['input']}")
    if task["output"]:
        result.wasGeneratedBy(f"dataset:{task['output']}", name)
    if task["input"] and task["output"]:
        result.wasDerivedFrom(f"dataset:{task['output']}", f"dataset:{task['input']}", name)


def _agent(result: Any, owner: str) -> None:
    if owner and not result.get_record(f"user:{owner}"):
        result.agent(f"user:{owner}", {"prov:label": owner})


def _terms(facts: View) -> View:
    return {f"prodchain:{key}": value for key, value in facts.items() if value is not None}
