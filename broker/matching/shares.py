"""The tree of global shares: who is next, from targets and use. Pure.

At each level the child that has least of its target is first, so what one share leaves over goes to its siblings
before it goes to the parent's. Values count among siblings, so a tree may be written in any unit.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import inf
from operator import attrgetter

FIELDS = ("activity", "group", "owner", "step", "tag")
"""What a share may look at in a task."""


@dataclass(frozen=True)
class Share:
    """``match``: shell patterns by field; a task belongs below the share if all of them fit.

    A share with the value 0 has no target: it gets what its siblings leave. A retired one takes no new tasks; its
    jobs go on with its old value until they are through.
    """

    id: int
    name: str
    parent: int | None
    value: float
    match: Mapping[str, str] = field(default_factory=dict)
    retired: bool = False

    def takes(self, task: Mapping[str, str]) -> bool:
        return all(fnmatchcase(task.get(key, ""), pattern) for key, pattern in self.match.items())


def path(shares: Mapping[int, Share], share: int) -> list[Share]:
    """The share and what it is below, upwards."""
    found = []
    at: int | None = share
    while at is not None:
        found.append(shares[at])
        at = shares[at].parent
    return found


def leaves(shares: Sequence[Share]) -> list[Share]:
    """The shares that take new tasks, in their order."""
    above = {share.parent for share in shares if not share.retired}
    return [share for share in shares if not share.retired and share.id not in above]


def leaf_for(shares: Sequence[Share], task: Mapping[str, str]) -> Share:
    """The first leaf that takes the task, as all above it do; the last leaf takes what no other does."""
    by_id = {share.id: share for share in shares}
    found = leaves(shares)
    return next((leaf for leaf in found if all(each.takes(task) for each in path(by_id, leaf.id))), found[-1])


def of_analysis(shares: Sequence[Share]) -> frozenset[int]:
    """The shares that analysis alone belongs to."""
    by_id = {share.id: share for share in shares}

    def may_hold(share: Share, activity: str) -> bool:
        return all(fnmatchcase(activity, each.match.get("activity", "*")) for each in path(by_id, share.id))

    return frozenset(s.id for s in shares if may_hold(s, "analysis") and not may_hold(s, "production"))


def targets(shares: Sequence[Share]) -> dict[int, float]:
    """Each share's part of the whole, 0 to 1, if all have work."""
    parts: dict[int | None, float] = {None: 1.0}
    todo: list[int | None] = [None]
    while todo:
        above = todo.pop()
        children = [share for share in shares if share.parent == above and not share.retired]
        whole = sum(child.value for child in children)
        for child in children:
            parts[child.id] = parts[above] * child.value / whole if whole else 0.0
            todo.append(child.id)
    return {share.id: parts.get(share.id, 0.0) for share in shares}


def hunger(used: float, value: float) -> tuple[float, float]:
    """What siblings are sorted by: who has least of the target, then the larger target; last who has none."""
    return (used / value, -value) if value else (inf, used)


_HUNGER = attrgetter("hunger")


@dataclass(eq=False)
class _Node:
    share: int
    value: float
    above: "_Node | None" = None
    used: float = 0.0
    below: list["_Node"] = field(default_factory=list)
    hunger: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.give(0.0)

    def give(self, amount: float) -> None:
        self.used += amount
        self.hunger = hunger(self.used, self.value)

    def hang(self, child: "_Node") -> "_Node":
        child.above = self
        self.below.append(child)
        return child

    def keep(self, holders: Set[int]) -> bool:
        """Cut off what has no work; whether any is left."""
        leaf = not self.below
        self.below = [child for child in self.below if child.keep(holders)]
        return self.share in holders if leaf else bool(self.below)

    def hungry_first(self) -> Iterator[int]:
        if not self.below:
            yield self.share
            return
        # The first one is nearly always all that is asked for: the others are sorted when somebody reads on.
        first = min(self.below, key=_HUNGER)
        yield from first.hungry_first()
        for child in sorted(self.below, key=_HUNGER):
            if child is not first:
                yield from child.hungry_first()


class Turns:
    """Whose turn it is, by the use so far; each job that is given out counts at once."""

    def __init__(self, shares: Sequence[Share], use: Mapping[int, float], holders: Set[int]) -> None:
        """``use``: by share, in any unit; ``holders``: the shares whose jobs wait, no others are looked at."""
        self._root = _Node(0, 1.0)
        nodes = {share.id: _Node(share.id, share.value) for share in shares}
        for share in shares:
            (self._root if share.parent is None else nodes[share.parent]).hang(nodes[share.id])
        self._homes = {share: self._home(share, nodes, shares) for share in {*use, *holders}}
        for share_id, amount in use.items():
            self.give(share_id, amount)
        self._root.keep(holders)

    def _home(self, share: int, nodes: Mapping[int, _Node], shares: Sequence[Share]) -> _Node:
        """Where the jobs of a share hang."""
        if share not in nodes:  # newer than our tree: it gets what is left for a moment
            return self._root.hang(_Node(share, 0.0))
        if not nodes[share].below:
            return nodes[share]
        # Its jobs from the time before it was divided: one child more, of middle size.
        values = [each.value for each in shares if each.parent == share]
        return nodes[share].hang(_Node(share, sum(values) / len(values)))

    def order(self) -> Iterator[int]:
        """The shares whose jobs wait, the one in most need first; as far as somebody reads on."""
        return self._root.hungry_first() if self._root.below else iter(())

    def give(self, share: int, amount: float) -> None:
        at: _Node | None = self._homes[share]
        while at is not None:
            at.give(amount)
            at = at.above
