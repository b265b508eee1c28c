"""Who calls: tokens are told by their hash, and each thing that can be wrong with one has its own error."""

import asyncio
from datetime import timedelta

import pytest

from prodchain.broker import tokens
from prodchain.broker.errors import BadRequest, NotFound
from prodchain.broker.models import TokenKind
from prodchain.broker.tokens import Caller, TokenExpired, TokenMissing, Tokens, TokenUnknown

from .world import World, inside

HOUR = timedelta(hours=1)


async def issue(
    world: World, kind: TokenKind, subject: str, lifetime: timedelta = HOUR, queue: str | None = None
) -> str:
    token, _ = await inside(world.pool, tokens.issue, kind, subject, lifetime, queue)
    return str(token)


async def test_a_token_names_its_caller(world: World) -> None:
    token = await issue(world, TokenKind.USER, "ann")
    caller = await Tokens(world.pool).check(token)
    assert (caller.kind, caller.subject, caller.queue_id) == (TokenKind.USER, "ann", None)


async def test_a_pilots_token_is_bound_to_its_queue(world: World) -> None:
    token = await issue(world, TokenKind.PILOT, "a", queue="A-BATCH")
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    assert (await Tokens(world.pool).check(token)).queue_id == queue


async def test_only_the_hash_of_a_token_is_kept(world: World) -> None:
    token = await issue(world, TokenKind.ADMIN, "root")
    rows = await world.fetch("SELECT * FROM token")
    assert len(rows) == 1
    assert token.startswith("pc_")
    assert len(token) > 40
    assert token not in str(dict(rows[0]))


async def test_a_missing_an_unknown_and_an_expired_token_are_told_apart(world: World) -> None:
    book = Tokens(world.pool)
    expired = await issue(world, TokenKind.USER, "ann", timedelta(seconds=-1))
    for token, error, code in (
        (None, TokenMissing, "token-missing"),
        ("", TokenMissing, "token-missing"),
        ("pc_nobody", TokenUnknown, "token-unknown"),
        ("x" * 100_000, TokenUnknown, "token-unknown"),
        (expired, TokenExpired, "token-expired"),
    ):
        with pytest.raises(error) as caught:
            await book.check(token)
        assert caught.value.code == code
        assert caught.value.hint
        assert not token or token not in str(caught.value)


async def test_a_known_token_costs_no_look_up_until_it_is_forgotten(world: World) -> None:
    token = await issue(world, TokenKind.USER, "ann")
    book, forgetful = Tokens(world.pool, remembered_s=60), Tokens(world.pool, remembered_s=0)
    before: Caller = await book.check(token)
    await forgetful.check(token)
    await world.pool.execute("DELETE FROM token")
    assert await book.check(token) == before
    with pytest.raises(TokenUnknown):
        await forgetful.check(token)


async def test_a_remembered_token_still_expires(world: World) -> None:
    token = await issue(world, TokenKind.USER, "ann")
    book = Tokens(world.pool, remembered_s=60)
    caller = await book.check(token)
    book._remembered = {
        key: (until, Caller(caller.kind, caller.subject, None, caller.expires_at - 2 * HOUR))
        for key, (until, _) in book._remembered.items()
    }
    with pytest.raises(TokenExpired):
        await book.check(token)


async def test_pilots_need_a_queue_that_exists_and_others_have_none(world: World) -> None:
    with pytest.raises(BadRequest):
        await issue(world, TokenKind.PILOT, "a")
    with pytest.raises(BadRequest):
        await issue(world, TokenKind.USER, "ann", queue="A-BATCH")
    with pytest.raises(NotFound):
        await issue(world, TokenKind.PILOT, "a", queue="C-BATCH")


async def test_a_token_that_many_bring_at_once_is_looked_up_once(world: World) -> None:
    token = await issue(world, TokenKind.PILOT, "a", queue="A-BATCH")
    looked_up = 0

    class Counting(Tokens):
        async def _find(self, key: str) -> Caller:
            nonlocal looked_up
            looked_up += 1
            return await super()._find(key)

    book = Counting(world.pool)
    callers = await asyncio.gather(*(book.check(token) for _ in range(50)))
    assert {caller.subject for caller in callers} == {"a"}
    assert looked_up == 1


async def test_who_gives_up_takes_nobody_elses_look_up_away(world: World) -> None:
    token = await issue(world, TokenKind.USER, "ann")
    book = Tokens(world.pool)
    first, second = asyncio.create_task(book.check(token)), asyncio.create_task(book.check(token))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).subject == "ann"
    with pytest.raises(asyncio.CancelledError):
        await first
