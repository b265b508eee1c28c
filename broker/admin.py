"""What an installation does before there is a server or a token, straight on the database.

python -m prodchain.broker.admin apply-sites sites.toml
python -m prodchain.broker.admin token --kind pilot --subject SITE-A-BATCH --queue SITE-A-BATCH --lifetime-s 86400
"""

import argparse
import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

from prodchain.catalog.errors import CatalogError

from . import sitefile, sites, tokens
from .database import connect
from .errors import BrokerError
from .models import TokenKind


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m prodchain.broker.admin", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    apply = verbs.add_parser("apply-sites", help="make sites, storages and queues as a sites file says")
    apply.add_argument("file", type=Path)
    token = verbs.add_parser("token", help="print a new token")
    token.add_argument("--kind", choices=[kind.value for kind in TokenKind], required=True)
    token.add_argument("--subject", required=True, help="user name, or the queue for pilots")
    token.add_argument("--queue", help="the queue that a pilot token serves")
    token.add_argument("--lifetime-s", type=int, default=30 * 86400)
    return parser.parse_args()


async def run(args: argparse.Namespace) -> None:
    file = sitefile.read(args.file) if args.verb == "apply-sites" else None
    pool = await connect(os.environ["PRODCHAIN_DATABASE_URL"], size=1)
    try:
        async with pool.acquire() as conn, conn.transaction():
            if file is not None:
                for change in await sites.apply(conn, file):
                    sys.stdout.write(f"{change}\n")
            else:
                lifetime = timedelta(seconds=args.lifetime_s)
                token, _ = await tokens.issue(conn, TokenKind(args.kind), args.subject, lifetime, queue=args.queue)
                sys.stdout.write(f"{token}\n")
    finally:
        await pool.close()


def main() -> None:
    try:
        asyncio.run(run(arguments()))
    except (BrokerError, CatalogError) as error:
        sys.exit(f"error: {error}\nobject: {error.object}\nhint: {error.hint}")


if __name__ == "__main__":
    main()
