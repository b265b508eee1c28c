"""The grid in simulated time: pilots ask, jobs run and end, things break, the brokerage and the watch take turns."""

import math
import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from prodchain.broker.brokerage.facts import Decision, Need, Slot
from prodchain.broker.brokerage.facts import Offer as Queue
from prodchain.broker.matching.match import Offer
from prodchain.broker.matching.shares import Turns

from . import troubles
from .book import Hour, Waits
from .desk import Desk
from .links import INCOMING_BYTES, Links
from .load import DAY_S, HOUR_S, LEAVES, PILOT_CORES, SHARES, Size, sites, submissions
from .placing import CYCLE_S, Placing
from .tasks import FAILED, FINISHED, Task, Tasks
from .watch import Watch

TICK_S = 60
PILOT_S, LIMIT_S = 48 * HOUR_S, 96 * HOUR_S
"""A pilot takes no more jobs after so long, and is replaced when its last is over; the most that a job may take."""
FAIL_S = 90
"""A job at a black hole is over after so long."""
AHEAD = 10
"""As offers.AHEAD: jobs that may wait at a queue for each slot of it."""
LINK_S = 600
"""As the setting link_s; until then a copy is tried again after as long."""
BATCH = 32
"""Pilots of a queue that are served at once."""
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
        home = [site.queue for site in self.sites for _ in range(site.pilots)]
        self.home = home
        self.free = bytearray([PILOT_CORES]) * len(home)
        self.memory = [self.sites[site].memory_mb for site in home]
        self.until = [self.dice.uniform(0.1, 1.0) * PILOT_S for _ in home]
        self.parked: list[dict[tuple[int, int], dict[int, None]]] = [{} for _ in self.sites]
        """Pilots that found nothing, by what they offer."""
        self.place: list[tuple[int, int] | None] = [None] * len(home)
        self.ends: dict[int, list[tuple[int, int]]] = {}
        self.later: dict[int, list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}
        self.asking: dict[int, list[int]] = {0: list(range(len(home)))}
        self.news: dict[int, int] = {}
        """Queues with new jobs, and the fewest cores that one of them needs."""
        self.use: dict[int, int] = dict.fromkeys(LEAVES, 0)
        self.ready: dict[int, int] = dict.fromkeys(LEAVES, 0)
        self.waits = {share: Waits() for share in LEAVES}
        self.hours: list[Hour] = []
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.matches = 0
        self.match_cpu_s = 0.0
        self._factors = [dice.lognormvariate(-0.045, 0.3) for _ in range(POOL)]
        self._offers: dict[tuple[int, int], Offer] = {}
        self._tick = -1
        self.now = 0.0
        self._sum: dict[int, int] = dict.fromkeys(LEAVES, 0)
        self._always = set(LEAVES)
        self._turns_at = -1
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
            self._ask()
            for queue, tally in self.watch.look(self.now, TICK_S):
                self._drained(queue, [end.job for end in tally.failures])
            self._note()
            if self._tick % (DAY_S // TICK_S) == DAY_S // TICK_S - 1:
                told(self)

    # -- what happens to pilots and jobs

    def _ask(self) -> None:
        """All pilots with something free ask, and ask again while they get a part of it used."""
        asking: dict[int, dict[int, None]] = defaultdict(dict)
        for pilot in self.asking.pop(self._tick, ()):
            asking[self.home[pilot]][pilot] = None
        for site in {**asking, **self.news}:
            if self.trouble[site] == troubles.DOWN:
                continue
            pilots = list(asking[site]) if site in asking else []
            if site in self.news:
                for (cores, _), waiting in self.parked[site].items():
                    if cores >= self.news[site]:
                        pilots += islice(waiting, self.desks[site].waiting)
            if pilots:
                self._serve(site, pilots)
        self.news.clear()

    def _serve(self, site: int, pilots: Sequence[int]) -> None:
        desk = self.desks[site]
        turns = self._turns()
        refused: set[tuple[int, int]] = set()
        queue = deque(dict.fromkeys(pilots))
        while queue:
            asking: list[int] = []
            offers: list[Offer] = []
            while queue and len(offers) < min(BATCH, desk.waiting):
                pilot = queue.popleft()
                if self._over(pilot):
                    continue
                kind = self.free[pilot], self.memory[pilot] // 500
                if kind in refused or (kind[0] < PILOT_CORES and not desk.small):
                    self._park(site, pilot, kind)
                    continue
                asking.append(pilot)
                offers.append(self._offer(kind))
            if not offers:
                break
            start = time.process_time()
            choices = desk.give(offers, turns)
            self.match_cpu_s += time.process_time() - start
            self.matches += len(offers)
            for pilot, choice in zip(asking, choices, strict=True):
                if choice.jobs:
                    self._start(choice.jobs[0], pilot, site, choice.lanes[0].share, choice.lanes[0].requirement)
                    if self.free[pilot]:
                        queue.append(pilot)
                elif choice.unsure:
                    queue.append(pilot)
                else:
                    kind = self.free[pilot], self.memory[pilot] // 500
                    refused.add(kind)
                    self._park(site, pilot, kind)
        for pilot in queue:  # nothing is left for them
            if not self._over(pilot):
                self._park(site, pilot, (self.free[pilot], self.memory[pilot] // 500))

    def _over(self, pilot: int) -> bool:
        """It is too old to take a job; one that is empty is replaced."""
        if self.until[pilot] > self.now:
            return self.free[pilot] == 0
        self._unpark(pilot)
        if self.free[pilot] == PILOT_CORES:
            self.until[pilot] = self.now + PILOT_S
            self.asking.setdefault(self._tick + 5, []).append(pilot)
        return True

    def _offer(self, kind: tuple[int, int]) -> Offer:
        if kind not in self._offers:
            self._offers[kind] = Offer(kind[0], kind[1] * 500, LIMIT_S, 10**6)
        return self._offers[kind]

    def _park(self, site: int, pilot: int, kind: tuple[int, int]) -> None:
        if self.place[pilot] != kind:
            self._unpark(pilot)
            self.place[pilot] = kind
            self.parked[site].setdefault(kind, {})[pilot] = None

    def _unpark(self, pilot: int) -> None:
        if (kind := self.place[pilot]) is not None:
            del self.parked[self.home[pilot]][kind][pilot]
            self.place[pilot] = None

    def _turns(self) -> Turns:
        """Read once in a tick; what is given counts at once."""
        if self._turns_at != self._tick:
            self._turns_at = self._tick
            self._kept = Turns(SHARES, {share: float(cores) for share, cores in self.use.items()}, set(LEAVES))
        return self._kept

    def _start(self, job: int, pilot: int, site: int, share: int, requirement: int) -> None:
        needs = self.tasks.requirements[requirement]
        task = self.tasks.open[self.tasks.of[job]]
        self._unpark(pilot)
        self.free[pilot] -= needs.cores
        self.memory[pilot] -= needs.memory_mb
        self.use[share] += needs.cores
        self.ready[share] -= needs.cores
        self.counts["started"] += 1
        if job not in self.tasks.tries and self.now >= self.size.warm_up_h * HOUR_S:
            self.waits[share].add(self.now - task.ready_at)
        seconds, error = task.what.job_s * self._factors[self.counts["started"] % POOL], ""
        if self.trouble[site] == troubles.BLACK_HOLE:
            seconds, error = FAIL_S, troubles.ERRORS[troubles.BLACK_HOLE]
        elif self.dice.random() < task.what.kind.fails:
            seconds, error = seconds * self.dice.random(), troubles.payload_error(self.dice)
        elif seconds > needs.walltime_s:
            seconds, error = needs.walltime_s, f"over its wall time of {needs.walltime_s} s"
        end = self._tick + max(1, math.ceil(seconds / TICK_S))
        self.running[site][job] = end, pilot, requirement, error, seconds
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
        self.free[pilot] += needs.cores
        self.memory[pilot] += needs.memory_mb
        self.use[share] -= needs.cores
        self.asking.setdefault(self._tick, []).append(pilot)
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
        if broken and self.now < max(since, self.links.down[link]) and self.now - since < LINK_S:
            self._at(self.now + LINK_S, self._arrives, task, requirement, link, jobs, bytes_, since)
            return
        self.links.incoming[site] -= whole
        self.assigned[site] -= len(jobs)
        if broken:
            self.counts["cut_off"] += len(jobs)
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
        self.news[site] = min(self.news.get(site, cores), cores)

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
            for pilot, site in enumerate(self.home):
                if site == trouble.site:
                    self.asking.setdefault(self._tick + self.dice.randrange(60), []).append(pilot)

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
