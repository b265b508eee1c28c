"""What is queued, after any history of wishes: exactly what somebody waits for, once; a model of sets beside it."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prodchain.catalog import (
    containers,
    datasets,
    files,
    holds,
    hooks,
    names,
    quotas,
    replicas,
    subscriptions,
    withdrawals,
)
from prodchain.catalog.connection import Connection
from prodchain.catalog.errors import DatasetNeeded, QuotaExceeded
from prodchain.catalog.models import DatasetKind

from .conftest import Run
from .material import new_file, new_files, new_storages

FILES, DATASETS, BOX = 4, 2, 2
"""Datasets 0 and 1 and the container that may have them; few, so that what happens happens to the same."""
MEMBERS = {0: {0, 1}, 1: {1, 2}}
"""What is in the datasets at first."""


@dataclass
class Wish:
    """A wish as it should be; ``waits`` are the files of one for what was there in an open dataset."""

    state: str
    standing: bool
    direct: bool
    waits: set[int] | None = None
    parts: set[int] = field(default_factory=set)

    @property
    def alive(self) -> bool:
        return self.state in ("active", "done")


class Model:
    """Who has what, who wishes for what, and what is queued for it; numbers instead of ids."""

    def __init__(self) -> None:
        self.members: dict[int, set[int]] = {n: set(members) for n, members in MEMBERS.items()}
        self.children: set[int] = set()
        self.closed: set[int] = set()
        self.there: set[tuple[int, int]] = set()
        self.held: set[tuple[int, int]] = set()
        self.queued: set[tuple[int, int]] = set()
        self.wishes: dict[tuple[int, int], Wish] = {}

    def lacking(self, dataset: int, at: int) -> set[int]:
        return {file for file in self.members[dataset] if (file, at) not in self.there}

    def wish(self, dataset: int, at: int, standing: bool, direct: bool = True) -> None:
        old = self.wishes.get((dataset, at))
        if dataset == BOX:
            standing = standing or (old is not None and old.state == "active" and old.standing)
            self.wishes[dataset, at] = Wish("active", standing, True, parts=set(self.children))
            for child in self.children:
                self.wish(child, at, standing, direct=False)
            return
        if old and old.standing and (old.state == "active" or (old.state == "done" and not direct)):
            old.direct |= direct
            return
        active = old is not None and old.state == "active"
        kept = old is not None and old.alive and old.direct
        new = Wish("active", standing or (active and old is not None and old.standing), direct or kept)
        if not new.standing and dataset not in self.closed:
            new.waits = self.lacking(dataset, at)
        self.wishes[dataset, at] = new

    def end(self, dataset: int, at: int, state: str) -> bool:
        """False if it is refused."""
        wish = self.wishes[dataset, at]
        if dataset == BOX:
            wish.state = state
            for part in sorted(wish.parts):
                each = self.wishes[part, at]
                if each.alive and not each.direct:
                    each.state = state
            wish.parts = set()
            return True
        box = self.wishes.get((BOX, at))
        if box and box.alive and dataset in box.parts:
            if not wish.direct:
                return False
            wish.direct = False
            return True
        wish.state = state
        return True

    def remove(self, at: int, gone: set[int]) -> None:
        self.there -= {(file, at) for file in gone}
        for dataset, members in self.members.items():
            wish = self.wishes.get((dataset, at))
            if wish is None or not members & gone:
                continue
            if wish.state == "active" and wish.waits is not None and not wish.standing:
                wish.waits |= members & gone
            elif wish.state == "done" and (wish.standing or dataset in self.closed):
                wish.state, wish.waits = "active", None
                box = self.wishes.get((BOX, at))
                if box and box.state == "done" and dataset in box.parts:
                    box.state = "active"

    def settle(self) -> None:
        """End what is fulfilled, then queue and withdraw what follows."""
        wished = set()
        for (dataset, at), wish in sorted(self.wishes.items()):
            if wish.state != "active" or dataset == BOX:
                continue
            lacking = self.lacking(dataset, at)
            if wish.waits is not None and not wish.standing:
                wish.waits &= lacking
            waits = wish.waits if wish.waits is not None and not wish.standing else lacking
            if (dataset in self.closed and not lacking) or (waits is wish.waits and not waits):
                wish.state = "done"
            else:
                wished |= {(file, at) for file in waits}
        for (dataset, at), wish in self.wishes.items():
            if dataset != BOX or wish.state != "active" or (wish.standing and BOX not in self.closed):
                continue
            if all(self.wishes[part, at].state != "active" for part in wish.parts):
                wish.state = "done"
        self.held -= self.there
        self.queued = wished | (self.queued & self.held - self.there)


storage = st.sampled_from([0, 0, 0, 1])
some = st.sets(st.integers(0, FILES - 1), min_size=1)
which = st.integers(0, BOX)
steps = st.one_of(
    st.tuples(st.just("wish"), which, storage, st.booleans()),
    st.tuples(st.just("wish"), which, storage, st.booleans()),
    st.tuples(st.sampled_from(["cancel", "expire"]), which, storage),
    st.tuples(st.just("add"), st.integers(0, DATASETS - 1), some),
    st.tuples(st.just("close"), which),
    st.tuples(st.just("box"), st.integers(0, DATASETS - 1)),
    st.tuples(st.just("unbox"), st.integers(0, DATASETS - 1)),
    st.tuples(st.just("arrive"), storage, some),
    st.tuples(st.just("remove"), storage, some),
    st.tuples(st.just("hold"), storage, some),
)


class World:
    """The catalog beside the model; every step is done in both."""

    def __init__(self, conn: Connection, storages: list[int], file_ids: list[int], ids: list[int]) -> None:
        self.conn, self.storages, self.files, self.datasets = conn, storages, file_ids, ids
        self.model = Model()
        self.holds = 0

    @classmethod
    async def make(cls, conn: Connection) -> "World":
        async def nobody(_: Connection, __: list[str]) -> None:
            return None

        hooks.satisfied = nobody
        ids = []
        for number in range(BOX + 1):
            kind = DatasetKind.CONTAINER if number == BOX else DatasetKind.USER
            made = await datasets.create(conn, names.parse_did(f"user.ada.d{number}"), kind, "ada")
            assert made.id is not None
            ids.append(made.id)
        file_ids = await new_files(conn, FILES)
        for number, members in MEMBERS.items():
            await datasets.add_files(conn, ids[number], [file_ids[n] for n in sorted(members)])
        return cls(conn, await new_storages(conn, "file:/a", "file:/b"), file_ids, ids)

    async def do(self, what: str, *how: object) -> None:
        await getattr(self, what)(*how)
        self.model.settle()

    async def wish(self, dataset: int, at: int, standing: bool) -> None:
        await subscriptions.subscribe(self.conn, self.datasets[dataset], self.storages[at], standing=standing)
        self.model.wish(dataset, at, standing)

    async def cancel(self, dataset: int, at: int) -> None:
        wish = self.model.wishes.get((dataset, at))
        if wish is None:
            return
        refused = wish.alive and not self.model.end(dataset, at, "cancelled")
        try:
            await withdrawals.cancel(self.conn, self.datasets[dataset], self.storages[at])
            assert not refused
        except DatasetNeeded:
            assert refused

    async def expire(self, dataset: int, at: int) -> None:
        wish = self.model.wishes.get((dataset, at))
        if wish is None or not wish.alive or not wish.direct:
            return
        await self.conn.execute(
            "UPDATE subscription SET expires_at = '2020-01-01' WHERE dataset_id = $1 AND storage_id = $2",
            self.datasets[dataset],
            self.storages[at],
        )
        for each in await withdrawals.expired(self.conn):
            await withdrawals.expire(self.conn, each)
        self.model.end(dataset, at, "expired")

    async def add(self, dataset: int, which: set[int]) -> None:
        if dataset not in self.model.closed:
            await datasets.add_files(self.conn, self.datasets[dataset], [self.files[n] for n in sorted(which)])
            self.model.members[dataset] |= which

    async def close(self, dataset: int) -> None:
        await datasets.close(self.conn, self.datasets[dataset])
        self.model.closed.add(dataset)

    async def box(self, dataset: int) -> None:
        model = self.model
        if BOX in model.closed or dataset in model.children:
            return
        await containers.add(self.conn, self.datasets[BOX], [self.datasets[dataset]])
        model.children.add(dataset)
        for at in range(2):
            wish = model.wishes.get((BOX, at))
            if wish and wish.state == "active" and wish.standing:
                wish.parts.add(dataset)
                model.wish(dataset, at, True, direct=False)

    async def unbox(self, dataset: int) -> None:
        model = self.model
        if BOX in model.closed or dataset not in model.children:
            return
        await containers.remove(self.conn, self.datasets[BOX], [self.datasets[dataset]])
        model.children.discard(dataset)
        for at in range(2):
            wish = model.wishes.get((BOX, at))
            if wish and wish.state == "active" and dataset in wish.parts:
                wish.parts.discard(dataset)
                if not model.wishes[dataset, at].direct:
                    model.wishes[dataset, at].state = "cancelled"

    async def arrive(self, at: int, which: set[int]) -> None:
        await replicas.arrive(self.conn, self.storages[at], [self.files[n] for n in sorted(which)])
        self.model.there |= {(file, at) for file in which}

    async def remove(self, at: int, which: set[int]) -> None:
        gone = {file for file in which if (file, at) in self.model.there}
        await replicas.remove(self.conn, self.storages[at], [self.files[n] for n in sorted(which)], garbage=False)
        self.model.remove(at, gone)

    async def hold(self, at: int, which: set[int]) -> None:
        self.holds += 1
        await holds.place(self.conn, f"job:{self.holds}", self.storages[at], [self.files[n] for n in which])
        self.model.held |= {(file, at) for file in which} - self.model.there

    async def same(self) -> None:
        rows = await self.conn.fetch("SELECT file_id, storage_id FROM transfer WHERE state = 'queued'")
        queued = {(self.files.index(row["file_id"]), self.storages.index(row["storage_id"])) for row in rows}
        assert queued == self.model.queued
        assert len(rows) == len(queued)
        states = {
            (self.datasets.index(row["dataset_id"]), self.storages.index(row["storage_id"])): row["state"]
            for row in await self.conn.fetch("SELECT dataset_id, storage_id, state FROM subscription")
        }
        assert states == {key: wish.state for key, wish in self.model.wishes.items()}
        waiting = await self.conn.fetchval("SELECT count(*) FROM hold WHERE holder LIKE 'subscription:%'")
        assert waiting == sum(
            wish.state == "active" and wish.waits is not None and not wish.standing
            for wish in self.model.wishes.values()
        )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(
    history=[("box", 0), ("wish", 2, 0, False), ("arrive", 0, {0, 1, 2}), ("wish", 0, 0, True), ("remove", 0, {0})]
)
@given(history=st.lists(steps, min_size=12, max_size=30))
def test_any_history_leaves_queued_exactly_what_is_wished_for(history: list[tuple[object, ...]], run_on: Run) -> None:
    async def check(conn: Connection) -> None:
        world = await World.make(conn)
        for what, *how in history:
            await world.do(str(what), *how)
            await world.same()

    run_on(check)


wants = st.lists(
    st.one_of(
        st.tuples(st.just("wish"), st.integers(0, 3), st.sampled_from(["ada", "bob"])),
        st.tuples(st.just("cancel"), st.integers(0, 3), st.just("")),
        st.tuples(st.just("arrive"), st.integers(0, 3), st.just("")),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=wants, sizes=st.lists(st.integers(1, 30), min_size=4, max_size=4), limit=st.integers(0, 80))
def test_accepted_wishes_never_exceed_a_quota(
    moves: list[tuple[str, int, str]], sizes: list[int], limit: int, run_on: Run
) -> None:
    """Datasets 0 and 1 are ada's, 2 and 3 bob's, 1 on a group's account; each pays as account or wisher."""

    async def check(conn: Connection) -> None:
        (there,) = await new_storages(conn, "file:/a")
        ids = await files.register(conn, [new_file(n, b"x" * size) for n, size in enumerate(sizes, start=1)])
        owners, accounts = ["ada", "ada", "bob", "bob"], ["ada", "group:higgs", "bob", "bob"]
        made = []
        for number, owner in enumerate(owners):
            did = names.parse_did(f"user.{owner}.d{number}")
            dataset = await datasets.create(conn, did, DatasetKind.USER, owner)
            assert dataset.id is not None
            if accounts[number] != owner:
                await datasets.charge(conn, dataset, accounts[number])
            await datasets.add_files(conn, dataset.id, [ids[number]])
            made.append(dataset.id)
        for owner in ("ada", "bob", "group:higgs"):
            await quotas.set(conn, owner, there, limit, "root")
        moving: dict[int, str] = {}
        here: set[int] = set()

        def payers(n: int, wisher: str) -> set[str]:
            return {accounts[n]} if wisher == owners[n] else {accounts[n], wisher}

        def load(owner: str) -> int:
            used = sum(sizes[n] for n in here if accounts[n] == owner)
            return used + sum(
                sizes[n] for n, wisher in moving.items() if owner in payers(n, wisher) and n not in here
            )

        for what, number, wisher in moves:
            if what == "wish":
                fits = all(load(payer) + sizes[number] <= limit for payer in payers(number, wisher))
                free = number in here or number in moving or fits
                try:
                    await subscriptions.subscribe(conn, made[number], there, owner=wisher)
                    assert free
                    moving.setdefault(number, wisher)
                except QuotaExceeded:
                    assert not free
            elif what == "cancel" and number in moving:
                await withdrawals.cancel(conn, made[number], there)
                del moving[number]
            elif what == "arrive" and number in moving:
                await replicas.arrive(conn, there, [ids[number]])
                here.add(number)
            for use in await quotas.of(conn):
                assert use.used + use.moving == load(use.owner) <= limit

    run_on(check)
