"""Addresses of pages, and the command that shows the same in a terminal."""

import re
from collections.abc import Callable, Mapping
from shlex import join
from urllib.parse import quote, urlencode

TASK_IDS_START = 10_000_000
"""Smaller numbers are jobs (docs: task ids start above what other clients take for job ids)."""


def here(path: str, current: Mapping[str, str]) -> Callable[..., str]:
    """A function that gives this page's address with some filters changed; None and "" leave a filter out.

    A change of filter starts the list anew, so the list's position is kept only when it is what changes.
    """

    def changed(**changes: object) -> str:
        kept = {key: value for key, value in current.items() if key not in ("json", "after")}
        wanted = {key: value for key, value in (kept | changes).items() if value not in (None, "", False)}
        return path + ("?" + urlencode(wanted) if wanted else "")

    return changed


def dataset_page(did: str) -> str:
    return "/datasets/" + quote(did, safe=":@")


def site_page(name: str) -> str:
    return "/sites/" + quote(name, safe="")


def found(text: str) -> str:
    """The page for what somebody typed: a number is a job or task, anything else part of a dataset's name."""
    text = text.strip()
    if re.fullmatch(r"\d{1,18}", text):
        return f"/{'tasks' if int(text) >= TASK_IDS_START else 'jobs'}/{int(text)}"
    if not text:
        return "/datasets"
    pattern = text if "*" in text else f"*{text}*"
    return "/datasets?" + urlencode({"pattern": pattern})


FIELDS = ("project", "number", "physics", "step", "format", "tags")
"""The fields of a dataset's name by which lists are narrowed."""


def listed(query: Mapping[str, str]) -> str:
    """The command that lists what the page of datasets lists."""
    words = [query["pattern"]] if query.get("pattern") else []
    same = (*FIELDS, "kind", "owner", "at", "not_at", "complete_at", "since", "sort")
    options: dict[str, object] = {name.replace("_", "-"): query.get(name) for name in same}
    options |= {name: bool(query.get(name)) for name in ("versions", "deleted")}
    return command("ls", *words, **options, all=bool(query.get("bookkeeping")))


def command(*words: object, **options: object) -> str:
    """A line for a shell; options that are not set are left out."""
    line = ["prodchain", *(str(word) for word in words)]
    for name, value in options.items():
        if value is True:
            line.append(f"--{name}")
        elif value not in (None, "", False):
            line += [f"--{name}", str(value)]
    return join(line)
