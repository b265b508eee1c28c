"""A storage of one's own on this machine: what is fetched into it becomes copies that the catalog knows."""

from pathlib import Path

from prodchain.broker.client import Client, Document
from prodchain.catalog.names import parse_file_did, path_of

from .errors import Usage
from .fetch import Progress, Summary, Wish, fetch

AT_ONCE = 1000
"""Copies that one request registers."""


def fetch_into_storage(
    client: Client, did: str, storage: str, progress: Progress | None, threads: int | None, wish: Wish | None
) -> Summary:
    """Bring the files to where the storage has them, then register those that are here and right."""
    url = client.storage(storage)["url"]
    if not url.startswith("file:"):
        hint = "name a storage whose url is a folder of this machine (file:...)"
        raise Usage(f"{storage} is not on this machine: {url}", object=storage, hint=hint)
    folder = Path(url.removeprefix("file:").replace("//", "/", 1))
    summary = fetch(
        client, did, folder, progress, threads, wish, lambda file: Path(path_of(parse_file_did(file["did"])))
    )
    failed = {failure.file for failure in summary.failed}
    here = [file for file in (wish or Wish()).of(client.dataset_files(did)) if file["name"] not in failed]
    for start in range(0, len(here), AT_ONCE):
        client.register_replicas(storage, [_claim(file) for file in here[start : start + AT_ONCE]])
    return summary


def _claim(file: Document) -> Document:
    return {"did": file["did"], "bytes": file["bytes"], "adler32": file["adler32"]}
