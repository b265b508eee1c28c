"""Takes one file of the sites' declaration apart, table by table."""

import re
from pathlib import Path
from typing import Any

from prodchain.catalog.backends import BACKENDS
from prodchain.catalog.sites import LinkSpec, SiteSpec

from .sitespecs import GB, STATUSES, Queue, Storage
from .tomllines import Keys
from .tomltables import Tables

URL = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)
STORAGE_KEYS = {
    *("url", "kind", "readable", "writable", "deletable", "capacity_gb", "min_free_gb", "max_transfers"),
    *("tape_api", "attributes"),
}
QUEUE_NUMBERS = {
    **{"slots": 1, "local_pilots": 0, "cores": 1, "memory_mb": 2000, "walltime_s": 86400},
    **{"scratch_mb": 20_000, "gpus": 0},
}
QUEUE_LIMITS = ("max_jobs", "analysis_percent")
"""Numbers that need not be there: then there is no such limit."""
SOFTWARE = re.compile(r"[A-Za-z0-9*?\[\]!._/:@+-]+")
WHO = re.compile(r"(user|group):[A-Za-z0-9._@-]+|production|analysis")


class Reader(Tables):
    """``read`` fills the lists; ``home`` is None where this file does not name it."""

    def __init__(self, document: dict[str, Any], text: str, name: str, base: Path) -> None:
        super().__init__(document, text, name)
        self.base = base
        self.home: str | None = None
        self.sites: list[SiteSpec] = []
        self.storages: list[Storage] = []
        self.queues: list[Queue] = []
        self.links: list[LinkSpec] = []

    def read(self) -> None:
        self.allow((), self.document, {"home", "site", "link"})
        self.home = self.text((), self.document, "home") if "home" in self.document else None
        for keys, table in self.tables(("site",), self.document):
            name = keys[-1]
            self.allow(keys, table, {"description", "storage", "queue"})
            self.sites.append(SiteSpec(name, self.text(keys, table, "description", "")))
            self.storages += [self.storage(*each, name) for each in self.tables((*keys, "storage"), table)]
            self.queues += [self.queue(*each, name) for each in self.tables((*keys, "queue"), table)]
        for keys, targets in self.tables(("link",), self.document):
            self.links += [self.link(*each) for each in self.tables(keys, {keys[-1]: targets})]

    def storage(self, keys: Keys, table: dict[str, Any], site: str) -> Storage:
        self.allow(keys, table, STORAGE_KEYS)
        kind = self.text(keys, table, "kind", "disk")
        if kind not in ("disk", "tape"):
            self.refuse((*keys, "kind"), f"kind is {kind!r}", 'write kind = "disk" or kind = "tape"')
        return Storage(
            keys[-1],
            site,
            self.url(keys, self.text(keys, table, "url")),
            kind,
            readable=self.truth(keys, table, "readable"),
            writable=self.truth(keys, table, "writable"),
            deletable=self.truth(keys, table, "deletable"),
            capacity_bytes=self.amount(keys, table, "capacity_gb"),
            min_free_bytes=self.amount(keys, table, "min_free_gb") or 0,
            max_transfers=self.number(keys, table, "max_transfers", 8),
            attributes=self.attributes((*keys, "attributes"), table.get("attributes", {})),
            tape_api=self.tape_api(keys, table, kind),
        )

    def queue(self, keys: Keys, table: dict[str, Any], site: str) -> Queue:
        self.allow(
            keys,
            table,
            {"storage", "status", "architecture", "software", "allow", *QUEUE_NUMBERS, *QUEUE_LIMITS},
        )
        values = {key: self.number(keys, table, key, default) for key, default in QUEUE_NUMBERS.items()}
        values |= {key: self.number(keys, table, key, 0) for key in QUEUE_LIMITS if key in table}
        if values.get("analysis_percent", 0) > 100:
            self.refuse((*keys, "analysis_percent"), "analysis_percent is over 100", "write 0 to 100")
        status = self.text(keys, table, "status", "online")
        if status not in STATUSES:
            self.refuse((*keys, "status"), f"status is {status!r}", f"write one of {', '.join(STATUSES)}")
        return Queue(
            keys[-1],
            site,
            self.text(keys, table, "storage"),
            status,
            architecture=self.text(keys, table, "architecture", "x86_64"),
            software=self.words(keys, table, "software", SOFTWARE, '["Athena/24.*", "apptainer"]'),
            allow=self.words(keys, table, "allow", WHO, '["group:higgs", "user:ann", "analysis"]'),
            **values,
        )

    def link(self, keys: Keys, table: dict[str, Any]) -> LinkSpec:
        self.allow(keys, table, {"max_transfers"})
        return LinkSpec(keys[-2], keys[-1], self.number(keys, table, "max_transfers", 8))

    def truth(self, keys: Keys, table: dict[str, Any], key: str) -> bool:
        value = table.get(key, True)
        if not isinstance(value, bool):
            self.refuse((*keys, key), f"{key} is {value!r}", "write true or false")
        return bool(value)

    def words(
        self, keys: Keys, table: dict[str, Any], key: str, form: re.Pattern[str], example: str
    ) -> tuple[str, ...]:
        """Texts of one form, in a list."""
        values = table.get(key, [])
        if not isinstance(values, list):
            self.refuse((*keys, key), f"{key} is {values!r}, not a list", f"write {key} = {example}")
        for value in values:
            if not isinstance(value, str) or not form.fullmatch(value):
                self.refuse((*keys, key), f"{key} has {value!r}", f"write as in {key} = {example}")
        return tuple(values)

    def amount(self, keys: Keys, table: dict[str, Any], key: str) -> int | None:
        """Gigabytes as bytes."""
        value = table.get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 10**9:
            self.refuse((*keys, key), f"{key} is {value!r}", f"write gigabytes, as in {key} = 500")
        return int(value * GB)

    def attributes(self, keys: Keys, table: object) -> dict[str, str]:
        if not isinstance(table, dict):
            self.refuse(keys, "attributes is not a table", f"write [{'.'.join(keys)}]")
        for key, value in table.items():
            if key in ("name", "site", "kind") or re.fullmatch("[a-z][a-z0-9_]*", key) is None:
                self.refuse((*keys, key), f"{key!r} cannot be an attribute", "use lower-case words such as cloud")
            if not isinstance(value, str) or re.fullmatch("[A-Za-z0-9._-]+", value) is None:
                hint = "write letters, digits, '.', '_' and '-' in double quotes"
                self.refuse((*keys, key), f"{key} is {value!r}", hint)
        return dict(table)

    def tape_api(self, keys: Keys, table: dict[str, Any], kind: str) -> str | None:
        if "tape_api" not in table:
            return None
        api = self.text(keys, table, "tape_api").rstrip("/")
        if kind != "tape":
            self.refuse((*keys, "tape_api"), "a disk has no tape_api", 'add kind = "tape", or remove it')
        if re.match("https?://[^/@]", api) is None:
            self.refuse((*keys, "tape_api"), f"{api!r} is no address", 'write tape_api = "https://host/api/v1"')
        return api

    def url(self, keys: Keys, url: str) -> str:
        keys = (*keys, "url")
        match = URL.fullmatch(url)
        if match is None:
            self.refuse(keys, f"{url!r} is not a URL", 'write url = "file:folder" or "root://host//folder"')
        protocol, rest = match[1], match[2]
        if protocol not in BACKENDS:
            self.refuse(keys, f"nothing here speaks {protocol}:", f"write one of {', '.join(BACKENDS)}")
        if "@" in rest.removeprefix("//").split("/")[0]:
            hint = "keep them in the home's credentials/storages.toml: URLs are public"
            self.refuse(keys, "credentials in a URL", hint)
        if protocol != "file":
            if re.match("//[^/]+/+[^/]", rest) is None:
                self.refuse(keys, f"{url!r} names no place", f'write url = "{protocol}://host/folder"')
            return url.rstrip("/")
        if not rest.strip("/") or (rest.startswith("//") and not rest.startswith("///")):
            self.refuse(keys, f"{url!r} names no folder", 'write url = "file:folder" or "file:///folder"')
        return f"file://{(self.base.absolute() / re.sub('^/+', '/', rest)).as_posix()}"
