"""Datasets are counted by kind, or estimated where they are many."""

from prodchain.broker.database import Pool
from prodchain.broker.kinds import kinds

MANY = """
INSERT INTO dataset (scope, name, kind)
    SELECT 'mc26', 'd' || n, CASE WHEN n % 10 = 0 THEN 'user' ELSE 'production' END FROM generate_series(1, 500) n
"""


async def test_kinds_are_counted_while_they_are_few_and_estimated_beyond(database: Pool) -> None:
    async with database.acquire() as conn:
        assert await kinds(conn) == {}
        await conn.execute(MANY)
        assert await kinds(conn) == {"production": 450, "user": 50}
        await conn.execute("ANALYZE dataset")
        about = await kinds(conn, few=100)
    assert list(about) == ["production", "user"]
    assert abs(about["production"] - 450) < 10 and abs(about["user"] - 50) < 10
