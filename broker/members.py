"""Files that somebody names, as the catalog knows them."""

from collections.abc import Sequence

from prodchain.catalog.names import Did, parse_file_did

from .database import Connection
from .errors import Forbidden, NotFound

_KNOWN = """
SELECT f.id, f.scope, f.name FROM unnest($1::text[], $2::text[]) AS wanted (scope, name)
JOIN file f USING (scope, name)
WHERE $3::bigint IS NULL OR EXISTS (SELECT FROM dataset_file m WHERE m.dataset_id = $3 AND m.file_id = f.id)
"""
_OTHERS = """
SELECT f.scope || ':' || f.name AS file, d.scope || ':' || d.name AS dataset, d.owner
FROM dataset_file m JOIN dataset d ON d.id = m.dataset_id JOIN file f ON f.id = m.file_id
WHERE m.file_id = ANY($1::bigint[]) AND d.owner <> $2 AND d.kind NOT IN ('dispatch', 'sub')
ORDER BY f.id, d.id LIMIT 1
"""


def file_did(scope: str, text: str) -> Did:
    """``scope:name``, or a name in the scope of the dataset that it is named with."""
    return parse_file_did(text if ":" in text else f"{scope}:{text}")


async def file_ids(conn: Connection, scope: str, texts: Sequence[str], *, dataset_id: int | None = None) -> list[int]:
    """The ids of known files, of the dataset if one is given, in the order of their names; else NotFound."""
    dids = [file_did(scope, text) for text in texts]
    rows = await conn.fetch(_KNOWN, [did.scope for did in dids], [did.name for did in dids], dataset_id)
    known = {Did(row["scope"], row["name"]): int(row["id"]) for row in rows}
    strangers = [did for did in dids if did not in known]
    if strangers:
        more = f", and {len(strangers) - 1} more are not known" if len(strangers) > 1 else ""
        raise NotFound(
            f"there is no file {strangers[0]}{' in the dataset' if dataset_id is not None else ''}{more}",
            object=str(strangers[0]),
            hint="`prodchain put` brings files of your machine; `prodchain dataset files NAME` lists known ones",
        )
    return [known[did] for did in dids]


async def refuse_shared(conn: Connection, owner: str, ids: Sequence[int]) -> None:
    """Forbidden if a file is in somebody else's dataset too: anybody may put any file into a dataset of their own."""
    row = await conn.fetchrow(_OTHERS, ids, owner)
    if row is not None:
        raise Forbidden(
            f"{row['file']} is in {row['dataset']} of {row['owner'] or 'nobody'} too",
            object=row["file"],
            hint=f"ask {row['owner']} or an admin" if row["owner"] else "ask an admin",
        )
