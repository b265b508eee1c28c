"""What the database needs before the server starts, in one process: ``python -m prodchain.cli.local.prepare``.

Migrations, the sites file if it has changed since it was last put into effect, and the tokens of this home. One
process for all three, since importing the models takes longer than the work. No token is ever printed.
"""

import asyncio
import getpass
import hashlib
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

from prodchain.broker import sitefile, sites, tokens
from prodchain.broker.database import Connection, Pool, connect
from prodchain.broker.errors import BrokerError, Unauthorized
from prodchain.broker.migrate import migrate
from prodchain.broker.models import TokenKind
from prodchain.catalog.errors import CatalogError

from .home import QUEUES, Home, write

LIFETIME = timedelta(days=365)
RENEW_AFTER_S = 30 * 86400
APPLIED = "sites.applied"


async def prepare(home: Home, database_url: str) -> None:
    await migrate(database_url)
    pool = await connect(database_url, size=1)
    try:
        async with pool.acquire() as conn, conn.transaction():
            await apply_sites(conn, home)
        await make_tokens(pool, home)
    finally:
        await pool.close()


async def apply_sites(conn: Connection, home: Home) -> None:
    """A file that was applied before is not applied again: ``prodchain site apply`` may have changed sites since."""
    file = sitefile.read(home.sites)
    digest = hashlib.sha256(home.sites.read_bytes()).hexdigest()
    note = home.run / APPLIED
    known = note.exists() and note.read_text() == digest
    if not known or await conn.fetchval("SELECT count(*) FROM site") == 0:
        for change in await sites.apply(conn, file):
            sys.stdout.write(f"{change}\n")
        write(note, digest)


async def make_tokens(pool: Pool, home: Home) -> None:
    """Tokens that are missing, old or unknown to this database; and the list of queues for the supervisor."""
    user = "".join(letter for letter in getpass.getuser() if letter.isalnum() or letter in "._-") or "user"
    async with pool.acquire() as conn:
        rows = await conn.fetch(
            "SELECT name, local_pilots, cores, memory_mb FROM queue WHERE status <> 'offline' ORDER BY name"
        )
    queues = [dict(row) for row in rows]
    wanted: list[tuple[str, TokenKind, str, str | None]] = [
        ("admin", TokenKind.ADMIN, user, None),
        ("user", TokenKind.USER, user, None),
        *((f"pilot-{queue['name']}", TokenKind.PILOT, queue["name"], queue["name"]) for queue in queues),
    ]
    for role, kind, subject, queue in wanted:
        if not await good(pool, home.token(role)):
            async with pool.acquire() as conn:
                token, _ = await tokens.issue(conn, kind, subject, LIFETIME, queue=queue)
            write(home.token(role), token + "\n")
    write(home.run / QUEUES, json.dumps(queues))


async def good(pool: Pool, path: Path) -> bool:
    """Whether the file holds a token that this database knows and that will last."""
    token = recent(path)
    try:
        return token is not None and bool(await tokens.Tokens(pool).check(token))
    except Unauthorized:
        return False


def recent(path: Path) -> str | None:
    try:
        return path.read_text().strip() if time.time() - path.stat().st_mtime < RENEW_AFTER_S else None
    except OSError:
        return None


def main() -> None:
    try:
        asyncio.run(prepare(Home(Path(os.environ["PRODCHAIN_HOME"])), os.environ["PRODCHAIN_DATABASE_URL"]))
    except (BrokerError, CatalogError) as error:
        sys.exit(f"error: {error}\nobject: {error.object}\nhint: {error.hint}")


if __name__ == "__main__":
    main()
