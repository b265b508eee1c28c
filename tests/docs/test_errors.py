"""Every error has a stable code of its own and says what to do, wherever it is raised."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .pages import ROOT

TREES = {
    "broker": ("prodchain.broker.errors", "BrokerError"),
    "catalog": ("prodchain.catalog.errors", "CatalogError"),
    "cli": ("prodchain.cli.errors", "CliError"),
    "flows": ("prodchain.flows.errors", "ChainError"),
    "tasks": ("prodchain.tasks.errors", "StepError"),
    "pilot_agent": ("prodchain.pilot_agent.errors", "PilotError"),
}
HINTED = ("broker", "catalog", "cli", "flows", "tasks")
"""A pilot's errors become the text of a job's error, so most need no hint of their own."""
FOLDERS = tuple(TREES)


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(), str(path))


def error_names() -> dict[str, set[str]]:
    """By folder of the tree: the names of its classes, read from the sources."""
    roots = {root: folder for folder, (_, root) in TREES.items()}
    found: dict[str, set[str]] = {folder: set() for folder in TREES}
    classes = [
        (path.relative_to(ROOT).parts[0], node.name, {getattr(base, "id", "") for base in node.bases})
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    for _ in range(3):  # as deep as a tree is
        for folder, name, bases in classes:
            homes = [roots[base] for base in bases if base in roots] or [folder if bases & found[folder] else ""]
            if homes[0]:
                found[homes[0]].add(name)
    return found


def below(root: Any) -> Iterator[Any]:
    for each in root.__subclasses__():
        yield each
        yield from below(each)


@pytest.mark.parametrize("folder", TREES)
def test_each_error_of_a_tree_has_a_code_of_its_own(folder: str) -> None:
    module, root = TREES[folder]
    kinds = list(below(getattr(importlib.import_module(module), root)))
    assert kinds
    codes = [kind.code for kind in kinds]
    assert len(codes) == len(set(codes))
    assert all("code" in vars(kind) and re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code) for kind in kinds)


@pytest.mark.parametrize("folder", TREES)
def test_the_module_draws_its_tree(folder: str) -> None:
    module = importlib.import_module(TREES[folder][0])
    drawn = {line.split()[0] for line in (module.__doc__ or "").splitlines() if line.startswith("  ")}
    kinds = {kind.__name__ for kind in below(getattr(module, TREES[folder][1])) if kind.__module__ == module.__name__}
    assert kinds <= drawn


def test_errors_name_their_object_and_say_what_to_do() -> None:
    names = error_names()
    hinted = set().union(*(names[folder] for folder in HINTED)) - names["pilot_agent"]
    lacking = []
    for path, tree in sources():
        folder = path.relative_to(ROOT).parts[0]
        strangers = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} - names[folder]
        if folder in HINTED:
            lacking += [
                f"{path.relative_to(ROOT)}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and _name(node) in hinted - strangers and not _complete(node)
            ]
    assert lacking == []


def _name(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def _complete(call: ast.Call) -> bool:
    """Whether the call names an object and a hint, none of them empty."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if None in given:  # **fields
        return True
    empty = [value for value in given.values() if isinstance(value, ast.Constant) and value.value == ""]
    positional = len(call.args) >= 4  # the client's: code, message, object, hint
    return positional or (not empty and {"object", "hint"} <= given.keys())
