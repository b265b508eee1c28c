"""What the catalog's functions take as their first argument: a connection inside a transaction of the caller.

Isolation is PostgreSQL's default (read committed): each statement after a lock sees what its last holder did.
Locks are taken in one order everywhere, so that callers wait for each other instead of deadlocking:
files, dataset, dataset replicas, transfers, subscriptions, holds; within each by id. A transaction that calls
several functions may still meet another one crosswise: PostgreSQL ends one of the two, which is then repeated.
"""

from typing import Any, TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"
