"""Working groups: who may run and steer for them."""

from datetime import UTC, datetime

import pytest

from prodchain.broker import groups
from prodchain.broker.errors import Forbidden, NotFound
from prodchain.broker.models import TokenKind
from prodchain.broker.tokens import Caller

from .test_orders import entries, give
from .world import World, inside

ROOT = "user:root"


def caller(name: str, kind: TokenKind = TokenKind.USER) -> Caller:
    return Caller(kind, name, None, datetime(2030, 1, 1, tzinfo=UTC))


async def test_a_group_is_there_while_it_has_members(world: World) -> None:
    made = await give(world, groups.add, "higgs", "ann", ROOT, leader=True)
    assert made.changes == {"ann": [None, "leader"]}
    await give(world, groups.add, "higgs", "bob", "user:ann", leader=False)
    assert (await give(world, groups.add, "higgs", "bob", "user:ann", leader=False)).note == (
        "bob is in higgs already: nothing changes"
    )
    assert await inside(world.pool, groups.group, "higgs") == {
        "name": "higgs",
        "leaders": ["ann"],
        "members": ["bob"],
    }
    assert (await inside(world.pool, groups.groups))[0] == [{"name": "higgs", "leaders": ["ann"], "members": ["bob"]}]
    assert await inside(world.pool, groups.leads, "higgs", "ann")
    assert not await inside(world.pool, groups.leads, "higgs", "bob")
    for user in ("ann", "bob"):
        await give(world, groups.remove, "higgs", user, ROOT)
    assert not (await give(world, groups.remove, "higgs", "bob", ROOT)).changed
    with pytest.raises(NotFound, match="no group higgs"):
        await inside(world.pool, groups.group, "higgs")
    assert [each["verb"] for each in await entries(world, object="group higgs")] == ["remove", "remove", "add", "add"]


async def test_a_request_names_a_group_that_its_owner_is_in(world: World) -> None:
    await give(world, groups.add, "higgs", "ann", ROOT, leader=True)
    await give(world, groups.add, "higgs", "bob", ROOT, leader=False)
    for who in (caller("ann"), caller("bob"), caller("root", TokenKind.ADMIN)):
        await inside(world.pool, groups.check, who.subject, "higgs", who)
    await inside(world.pool, groups.check, "eve", "", caller("eve"))
    with pytest.raises(Forbidden, match="eve is not in the group higgs") as refused:
        await inside(world.pool, groups.check, "eve", "higgs", caller("eve"))
    assert refused.value.hint == "ask ann to add you"
    with pytest.raises(Forbidden, match="no group susy"):
        await inside(world.pool, groups.check, "ann", "susy", caller("ann"))
