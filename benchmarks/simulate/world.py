"""The grid in simulated time: pilots ask, jobs run and end, things break, the brokerage and the watch take turns."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prodchain.broker.brokerage.facts import Decision, Need, Slot
from prodchain.broker.brokerage.facts import Offer as Queue
from prodchain.broker.matching.match import Lane

from . import troubles
from .book import Hour, Waits
from .desk import Desk
from .links import INCOMING_BYTES, Links
from .load import DAY_S, HOUR_S, LEAVES, PILOT_CORES, Size, sites, submissions
from .pilots import LIMIT_S, TICK_S, Pilots
from .placing import CYCLE_S, Placing
from .tasks import FAILED, FINISHED, Task, Tasks
from .watch import Watch

FAIL_S = 90
"""A job at a black hole is over after so long."""
AHEAD = 10
"""As offers.AHEAD: jobs that may wait at a queue for each slot of it."""
LINK_S = 600
"""As the setting link_s; until then a copy is tried again after as long."""
POOL = 1 << 16
"""Drawn once, used in turn: how much longer or shorter than their task's average jobs take."""


class World:
    def __init__(self, size: Size) -> None:
        self.size = size
        dice = random.Random(size.seed)
        self.dice = random.Random(size.seed + 1)
        self.sites = sites(size, dice)
        self.links = Links(self.sites, size.seed)
        self.tasks = Tasks()
        self.desks = [Desk(self.tasks.requirements) for _ in self.sites]
        self.watch = Watch(len(self.sites), self._canary)
        self.placing = Placing(self.tasks, self._given)
        self.trouble: list[str] = [""] * len(self.sites)
        self.running: list[dict[int, tuple[int, int, int, str, float]]] = [{} for _ in self.sites]
        """By job: when it ends (tick), its pilot, its requirement, the error that it ends with, its seconds."""
        self.assigned = [0] * len(self.sites)
        self.results: list[list[int]] = [[0, 0, 0, 0] for _ in self.sites]
        """Finished and failed, of this day and the one before."""
        self.pilots = Pilots(self.sites, self.desks, self.dice, self._start)
        self.ends: dict[int, list[tuple[int, int]]] = {}
        self.later: dict[int, list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}
        self.use: dict[int, int] = dict.fromkeys(LEAVES, 0)
        self.ready: dict[int, int] = dict.fromkeys(LEAVES, 0)
        self.waits = {share: Waits() for share in LEAVES}
        self.hours: list[Hour] = []
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._factors = [dice.lognormvariate(-0.045, 0.3) for _ in range(POOL)]
        self._warm_s = size.warm_up_h * HOUR_S
        self._tick = -1
        self.now = 0.0
        self._sum: dict[int, int] = dict.fromkeys(LEAVES, 0)
        self._always = set(LEAVES)
        for task in submissions(size, self.sites, dice):
            self._at(task.when, self._submit, task)
        for each in troubles.troubles(size, self.sites, dice):
            self._at(each.start, self._breaks, each)
            self._at(each.end, self._mended, each)

    def run(self, told: Callable[["World"], None] = lambda world: None) -> None:
        for tick in range(int(self.size.days * DAY_S / TICK_S)):
            self._tick = tick
            self.now = float(self._tick * TICK_S)
            if self._tick % (HOUR_S // TICK_S) == 0:
                self.links.hour()
                self.links.move_outputs(self.now, HOUR_S)
            for act, facts in self.later.pop(self._tick, ()):
                act(*facts)
            if self._tick % int(CYCLE_S / TICK_S) == 0:
                self.placing.turn(self._queues(), self.now)
            self._end(self.ends.pop(self._tick, []))
            self.pilots.turn(tick, self.trouble, self.use)
            for queue, tally in self.watch.look(self.now, TICK_S):
                self._drained(queue, [end.job for end in tally.failures])
            self._note()
            if self._tick % (DAY_S // TICK_S) == DAY_S // TICK_S - 1:
                told(self)

    # -- what happens to jobs

    def _start(self, job: int, pilot: int, site: int, lane: Lane) -> None:
        needs, share = lane.needs, lane.share
        task = self.tasks.open[self.tasks.of[job]]
        self.use[share] += needs.cores
        self.ready[share] -= needs.cores
        self.counts["started"] += 1
        if job not in self.tasks.tries and self.now >= self._warm_s:
            self.waits[share].add(self.now - task.ready_at)
        seconds, error = task.what.job_s * self._factors[self.counts["started"] % POOL], ""
        if self.trouble[site] == troubles.BLACK_HOLE:
            seconds, error = FAIL_S, troubles.ERRORS[troubles.BLACK_HOLE]
        elif self.dice.random() < task.what.kind.fails:
            seconds, error = seconds * self.dice.random(), troubles.payload_error(self.dice)
        elif seconds > needs.walltime_s:
            seconds, error = needs.walltime_s, f"over its wall time of {needs.walltime_s} s"
        end = self._tick + max(1, math.ceil(seconds / TICK_S))
        self.running[site][job] = end, pilot, lane.requirement, error, seconds
        self.ends.setdefault(end, []).append((job, site))

    def _end(self, ended: Iterable[tuple[int, int]]) -> None:
        for job, site in ended:
            run = self.running[site].get(job)
            if run is None or run[0] != self._tick:
                continue  # it was killed before
            self._ended(job, site, run[3])

    def _ended(self, job: int, site: int, error: str) -> None:
        _, pilot, requirement, _, seconds = self.running[site].pop(job)
        needs = self.tasks.requirements[requirement]
        task = self.tasks.open[self.tasks.of[job]]
        share = task.what.kind.share
        self.pilots.free(pilot, needs, self._tick)
        self.use[share] -= needs.cores
        if not error and self.trouble[site] == troubles.FULL:
            error = troubles.ERRORS[troubles.FULL]
        self.watch.ended(site, task.id, error, self.now, job)
        if error:
            self._failed(job, site, task, requirement, error)
            return
        self.results[site][0] += 1
        self.counts["finished"] += 1
        self.tasks.finish(task, job, seconds, self.now)
        if task.what.destination != site:
            self.links.outputs[site, task.what.destination] += int(task.what.kind.output_gb * 1e9)

    def _failed(self, job: int, site: int, task: Task, requirement: int, error: str) -> None:
        self.results[site][1] += 1
        self.counts["runs_failed"] += 1
        ruled = self.tasks.fail(task, job, requirement, site, error, self.now)
        self.errors[ruled.rule or "no rule"] += 1
        self.counts["retried" if ruled.again else "failed"] += 1

    # -- the brokerage

    def _submit(self, what: Any) -> None:
        self.tasks.submit(what, self.now)

    def _queues(self) -> list[Queue]:
        if self._tick % (DAY_S // TICK_S) == 0:
            self.results = [[0, 0, finished, failed] for finished, failed, _, _ in self.results]
        network, came = self.links.network()
        return [
            Queue(
                site.queue, site.name, site.queue, site.name, site.name,
                health=self.watch.standing[site.queue].health, health_reason=self.watch.standing[site.queue].reason,
                slots=site.pilots, cores=PILOT_CORES, memory_mb=site.memory_mb, walltime_s=LIMIT_S, scratch_mb=10**6,
                assigned=self.assigned[site.queue], activated=self.desks[site.queue].waiting,
                executing=len(self.running[site.queue]), waiting_limit=max(20, AHEAD * site.pilots),
                pilots=0 if self.trouble[site.queue] == troubles.DOWN else min(50, site.pilots), pilots_ever=True,
                best=Slot(PILOT_CORES, site.memory_mb), incoming_bytes=self.links.incoming[site.queue],
                incoming_limit=max(INCOMING_BYTES, came[site.queue]),
                finished=sum(self.results[site.queue][::2]), failed=sum(self.results[site.queue][1::2]),
                network=network,
            )
            for site in self.sites
        ]  # fmt: skip

    def _given(self, task: Task, requirement: int, need: Need, decision: Decision) -> None:
        site = decision.queue
        assert site is not None
        bytes_ = need.job_bytes(site)
        if not bytes_:
            self._activate(task, requirement, site, decision.jobs)
            return
        link = min(task.what.at, key=lambda at: self.links.rate((at, site))), site
        part = max(1, int(INCOMING_BYTES // bytes_))
        for first in range(0, len(decision.jobs), part):
            jobs = decision.jobs[first : first + part]
            self.assigned[site] += len(jobs)
            self.links.incoming[site] += bytes_ * len(jobs)
            arrival = self.links.send(link, bytes_ * len(jobs), self.now)
            self._at(arrival, self._arrives, task, requirement, link, jobs, bytes_, self.now)

    def _arrives(
        self, task: Task, requirement: int, link: tuple[int, int], jobs: Sequence[int], bytes_: int, since: float
    ) -> None:
        site, whole = link[1], bytes_ * len(jobs)
        broken = self.links.broken(link, self.now)
        if broken and self.now - since < LINK_S:
            self._at(self.now + LINK_S, self._arrives, task, requirement, link, jobs, bytes_, since)
            return
        self.links.incoming[site] -= whole
        self.assigned[site] -= len(jobs)
        if broken:
            self.counts["cut_off"] += len(jobs)
            for job in jobs:
                self.tasks.avoid(job, site)
        else:
            self.links.arrived(link, len(jobs), whole, self.now)
            self.counts["moved_jobs"] += len(jobs)
        if broken or not self.watch.good(site):
            self._send_back(task, requirement, jobs)
        else:
            self._activate(task, requirement, site, jobs)

    def _activate(self, task: Task, requirement: int, site: int, jobs: Sequence[int]) -> None:
        share, cores = task.what.kind.share, task.what.kind.cores
        self.desks[site].add((share, requirement), task.what.priority, jobs)
        self.ready[share] += cores * len(jobs)
        self.pilots.told(site, cores)

    def _send_back(self, task: Task, requirement: int, jobs: Sequence[int]) -> None:
        self.counts["rebrokered"] += len(jobs)
        for job in jobs:
            self.tasks.back(task, job, requirement, self.now)

    # -- what breaks

    def _breaks(self, trouble: troubles.Trouble) -> None:
        self.counts[f"trouble_{trouble.kind}"] += 1
        if trouble.kind == troubles.LINK:
            self.links.down[trouble.source, trouble.site] = trouble.end
            return
        self.trouble[trouble.site] = trouble.kind
        if trouble.kind == troubles.DOWN:
            for job in list(self.running[trouble.site]):
                self._ended(job, trouble.site, troubles.ERRORS[troubles.DOWN])

    def _mended(self, trouble: troubles.Trouble) -> None:
        if trouble.kind == troubles.LINK or self.trouble[trouble.site] != trouble.kind:
            return
        self.trouble[trouble.site] = ""
        if trouble.kind == troubles.DOWN:
            self.pilots.begin(trouble.site, self._tick)

    def _canary(self, queue: int) -> bool | None:
        return None if self.trouble[queue] == troubles.DOWN else not self.trouble[queue]

    def _drained(self, queue: int, failed: Sequence[int]) -> None:
        """What waits there goes back to the brokerage; what failed there does not count."""
        for (share, requirement), _, jobs in self.desks[queue].empty():
            self.ready[share] -= len(jobs) * self.tasks.requirements[requirement].cores
            by_task: dict[int, list[int]] = defaultdict(list)
            for job in jobs:
                by_task[self.tasks.of[job]].append(job)
            for task, its in by_task.items():
                self._send_back(self.tasks.open[task], requirement, its)
        for job in failed:
            if self.tasks.spare(job, queue, self.now):
                self.counts["failed"] -= 1
                self.counts["spared"] += 1

    def _at(self, when: float, act: Callable[..., None], *facts: Any) -> None:
        self.later.setdefault(max(self._tick + 1, math.ceil(when / TICK_S)), []).append((act, facts))

    # -- what is written down

    def _note(self) -> None:
        for share, cores in self.use.items():
            self._sum[share] += cores
        self._always -= {share for share, cores in self.ready.items() if cores < 0.01 * self.size.slots}
        per = HOUR_S // TICK_S
        if self._tick % per == per - 1:
            use = {share: total / per for share, total in self._sum.items()}
            waiting = sum(desk.waiting for desk in self.desks)
            drained = sum(not self.watch.good(queue) for queue in range(len(self.sites)))
            self.hours.append(Hour(use, frozenset(self._always), waiting, drained))
            self._sum = dict.fromkeys(LEAVES, 0)
            self._always = set(LEAVES)

    def where(self) -> Counter[str]:
        """Each job that there is, counted where it is found; one that is in two places or none is an error."""
        found: Counter[str] = Counter()
        seen = bytearray(len(self.tasks.of))

        def see(place: str, jobs: Iterable[int]) -> None:
            for job in jobs:
                assert not seen[job] and not self.tasks.state[job], f"job {job} is also {place}"
                seen[job] = 1
                found[place] += 1

        for runs in self.running:
            see("running", runs)
        for desk in self.desks:
            see("activated", desk.jobs())
        for acts in self.later.values():
            for act, facts in acts:
                if act == self._arrives:
                    see("assigned", facts[3])
        for task in self.tasks.open.values():
            for some in (*task.fresh, *task.again.values()):
                see("unplaced", some)
        found["finished"] = self.tasks.state.count(FINISHED)
        found["failed"] = self.tasks.state.count(FAILED)
        found["lost"] = len(seen) - found.total()
        return found
