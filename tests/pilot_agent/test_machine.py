"""The state machine under random orders of events: what must hold after each of them."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodchain.pilot_agent import events as ev
from prodchain.pilot_agent.machine import FAILED, STOP_GRACE_S, TOKEN_REFUSED, UNREACHABLE, Limits, Machine
from prodchain.pilot_agent.messages import JobSpec, Output, Stored
from prodchain.pilot_agent.run import Phase

STORED = [Stored("out", "6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b", 1, "00620062", 1)]
WORK = (ev.StageIn, ev.RunPayload, ev.StageOut, ev.DeleteOutputs)
ENDS: dict[type[ev.Instruction], list[ev.Event]] = {
    ev.StageIn: [ev.StagedIn(), ev.WorkFailed("no input")],
    ev.RunPayload: [ev.Ended(0), ev.Ended(15, "payload failed"), ev.WorkFailed("defect")],
    ev.StageOut: [ev.StagedOut(STORED), ev.WorkFailed("no room")],
    ev.DeleteOutputs: [ev.OutputsDeleted()],
}
"""How each work may end, the good end first."""


def job(number: int = 1) -> JobSpec:
    return JobSpec(number, 10_000_000, 1, ["true"], [], [Output("out", "file:///s/out")], 60, 10.0, 100.0)


class World:
    """A pilot's surroundings: does what it says, one step at a time, and checks the promises on the way."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = 0.0
        self.machine = Machine(limits or Limits(), (f"request-{n}" for n in itertools.count()), 0.0)
        self.work: ev.Instruction | None = None
        self.stop_asked_of_work = False
        self.request: ev.AskForJob | None = None
        self.reports: list[ev.Report] = []
        self.stored: set[int] = set()
        self.may_be_taken: set[int] = set()
        self.numbers = itertools.count(1)
        self.begun: list[int] = []
        self.ended: dict[int, str] = {}
        self.left: ev.Leave | None = None
        self.said: list[ev.Instruction] = []

    def happen(self, event: ev.Event) -> list[ev.Instruction]:
        instructions = self.machine.handle(event, self.now)
        self.said += instructions
        for instruction in instructions:
            assert self.left is None, "nothing is done after leaving"
            self._obey(instruction)
        return instructions

    def _obey(self, instruction: ev.Instruction) -> None:
        if isinstance(instruction, WORK):
            assert self.work is None, "one work at a time, so never two payloads"
            self.work, self.stop_asked_of_work = instruction, False
            if isinstance(instruction, ev.DeleteOutputs):
                number = instruction.spec.job
                assert number not in self.may_be_taken, "the broker may own these outputs"
                self.stored.discard(number)
        elif isinstance(instruction, ev.StopWork):
            self.stop_asked_of_work = True
        elif isinstance(instruction, ev.AskForJob):
            assert self.request in (None, instruction) or self.request.request == instruction.request
            assert not self.open_jobs()
            self.request = instruction
        elif isinstance(instruction, ev.Received):
            self.begun.append(instruction.spec.job)
        elif isinstance(instruction, ev.Report):
            self._reported(instruction)
        elif isinstance(instruction, ev.Forget):
            assert self.work is None, "work goes on in a directory that is to be removed"
            assert instruction.spec.job not in self.ended
            if instruction.spec.job in self.stored:
                assert any(word in instruction.note for word in ("finished", "outputs stay", "rejected"))
            self.ended[instruction.spec.job] = instruction.note
            self.reports = []
        elif isinstance(instruction, ev.Leave):
            self.left = instruction

    def _reported(self, report: ev.Report) -> None:
        assert not self.reports, "one report at a time keeps them in order"
        assert report.job in self.open_jobs()
        if report.final:
            assert self.work is None, "the final report comes after all work"
        if report.state == "failed":
            assert self.stored <= self.may_be_taken, "a failed job leaves nothing at the storage"
        if report.state == "finished":
            assert report.job in self.stored, "outputs are stored before the job is finished"
            assert report.outputs == STORED
            self.may_be_taken.add(report.job)
        self.reports.append(report)

    def open_jobs(self) -> list[int]:
        return [number for number in self.begun if number not in self.ended]

    # What may happen

    def end_work(self, choice: int = 0) -> None:
        if self.work:
            ends, work = ENDS[type(self.work)], self.work
            end = ends[choice % len(ends)]
            if isinstance(end, ev.StagedOut):
                assert isinstance(work, ev.StageOut)
                self.stored.add(work.spec.job)
            self.work = None
            self.happen(end)

    def answer_request(self, choice: int = 0) -> None:
        if self.request:
            self.request = None
            trouble = list(ev.Trouble)[choice % 3]
            self.happen(
                [ev.GotJob(job(next(self.numbers))), ev.NoJob("none"), ev.AskFailed(trouble, "down")][choice % 3]
            )

    def answer_report(self, choice: int = 0) -> None:
        if self.reports:
            report = self.reports.pop()
            answers: list[ev.Event] = [
                *(ev.Answered(report.job, word) for word in ("continue", "kill", "discard", "dance")),
                *(ev.ReportFailed(report.job, trouble, "down") for trouble in ev.Trouble),
            ]
            answer = answers[choice % len(answers)]
            rejected = isinstance(answer, ev.ReportFailed) and answer.trouble is ev.Trouble.REJECTED
            told = isinstance(answer, ev.Answered) and (
                answer.command == "discard" or (report.final and report.state == "failed")
            )
            if told and not rejected:
                self.may_be_taken.discard(report.job)
            self.happen(answer)

    def word(self, command: str, reason: str) -> None:
        """The broker's answer to the report that is on its way."""
        self.happen(ev.Answered(self.reports.pop().job, command, reason))

    def fail_request(self, trouble: ev.Trouble = ev.Trouble.UNREACHABLE) -> None:
        self.request = None
        self.happen(ev.AskFailed(trouble, "words"))

    def pass_time(self, choice: int = 0) -> None:
        self.now += (0.2, 1.0, 11.0, 40.0, 120.0)[choice % 5]
        self.happen(ev.Tick())

    def late_word(self, choice: int = 0) -> None:
        """Something about a job that is forgotten, or an answer to a request that was answered."""
        late = [ev.Answered(0, "discard"), ev.Answered(0, "kill"), ev.ReportFailed(0, ev.Trouble.REJECTED, "late")]
        self.happen(late[choice % 3])

    def ask_to_stop(self, choice: int = 0) -> None:
        if choice == 7:  # seldom, as it ends all
            self.happen(ev.StopAsked("pilot was stopped"))

    def go_on(self, steps: int) -> None:
        """The sun shines: everything ends well."""
        for _ in range(steps):
            if self.left:
                return
            self.pass_time()
            self.end_work()
            self.answer_report()
            if self.request:
                self.answer_request(1)


STEPS: list[Callable[[World, int], None]] = [
    *(World.end_work, World.answer_request, World.answer_report, World.pass_time) * 4,
    World.late_word,
    World.ask_to_stop,
]
CHOICES = [0] * 20 + list(range(1, 21))
"""Half of all goes well: random trouble alone would never come to the end of a job."""


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(CHOICES)), min_size=20, max_size=100))
@settings(deadline=None, max_examples=150)
def test_no_order_of_events_breaks_a_promise(steps: list[tuple[Callable[[World, int], None], int]]) -> None:
    world = World()
    world.happen(ev.Tick())
    for step, choice in steps:
        step(world, choice)
        assert len(world.open_jobs()) <= 1
    world.go_on(40)
    assert world.open_jobs() == [] or world.left, "every job comes to its end"
    world.happen(ev.StopAsked("test is over"))
    world.go_on(200)
    assert world.left


def begin(limits: Limits | None = None) -> World:
    world = World(limits)
    world.happen(ev.Tick())
    world.answer_request(0)
    return world


def reach(phase: Phase) -> World:
    world = begin()
    while world.machine.phase is not phase:
        if world.reports and not world.reports[0].final:
            world.answer_report()
        world.end_work()
    return world


@pytest.mark.parametrize("phase", [Phase.STAGING_IN, Phase.RUNNING, Phase.STAGING_OUT])
def test_a_kill_at_any_moment_stops_the_work_and_is_reported(phase: Phase) -> None:
    world = reach(phase)
    world.word("kill", "the user wants it so")
    assert world.stop_asked_of_work
    world.end_work()
    world.go_on(3)
    final = [report for report in world.said if isinstance(report, ev.Report) and report.final]
    assert [(report.state, report.error) for report in final] == [("failed", "the user wants it so")]
    assert world.stored == set()


@pytest.mark.parametrize("phase", [Phase.STAGING_IN, Phase.RUNNING, Phase.STAGING_OUT])
def test_a_discard_at_any_moment_ends_without_a_final_report(phase: Phase) -> None:
    world = reach(phase)
    world.word("discard", "it is somebody else's")
    world.go_on(3)
    assert not [report for report in world.said if isinstance(report, ev.Report) and report.final]
    assert (world.ended, world.stored) == ({1: "discarded: it is somebody else's"}, set())


def test_outputs_stay_when_contact_is_lost_after_finished_was_sent() -> None:
    world = reach(Phase.REPORTING)
    assert world.reports[0].state == "finished"
    world.now += 101
    world.happen(ev.Tick())
    assert "outputs stay" in world.ended[1]
    assert world.stored == {1}


def test_outputs_go_when_contact_is_lost_before_finished_was_sent() -> None:
    world = reach(Phase.STAGING_OUT)
    world.now += 101
    world.happen(ev.Tick())
    world.end_work()
    world.end_work()
    assert "the lease is gone" in world.ended[1]
    assert world.stored == set()


def test_the_payload_runs_on_while_the_broker_is_away_for_less_than_the_lease() -> None:
    world = reach(Phase.RUNNING)
    for _ in range(9):
        world.now += 10
        world.happen(ev.Tick())
        if world.reports:
            world.answer_report(4)
    assert not world.stop_asked_of_work


def test_a_heartbeat_comes_at_each_interval() -> None:
    world = reach(Phase.RUNNING)
    before = len(world.said)
    for _ in range(100):
        world.now += 1
        world.happen(ev.Tick())
        world.answer_report()
    beats = [report for report in world.said[before:] if isinstance(report, ev.Report)]
    assert 9 <= len(beats) <= 12
    assert {beat.state for beat in beats} == {"running"}


def test_a_request_keeps_its_id_until_it_is_answered() -> None:
    world = World()
    world.happen(ev.Tick())
    for _ in range(3):
        world.fail_request()
        world.now += 3
        world.happen(ev.Tick())
    world.answer_request(1)
    world.now += 60
    world.happen(ev.Tick())
    asked = [order.request for order in world.said if isinstance(order, ev.AskForJob)]
    assert asked == ["request-0"] * 4 + ["request-1"]


def test_a_pilot_stopped_while_it_asks_takes_the_job_that_may_be_on_its_way_and_reports_it() -> None:
    world = World()
    world.happen(ev.Tick())
    (last,) = world.happen(ev.StopAsked("pilot was stopped"))
    assert isinstance(last, ev.AskForJob)
    assert (last.request, last.remaining_s, last.wait_s) == ("request-0", 0, 0.0)
    world.answer_request(0)
    assert world.work is None
    assert [(report.state, report.error) for report in world.reports] == [("failed", "pilot was stopped")]
    world.answer_report()
    assert world.left == ev.Leave(0, "pilot was stopped")


def test_a_stopped_pilot_leaves_in_time_even_if_nothing_answers() -> None:
    world = reach(Phase.RUNNING)
    world.happen(ev.StopAsked("pilot was stopped"))
    world.now += STOP_GRACE_S
    world.happen(ev.Tick())
    assert world.left


def test_the_end_of_its_lifetime_stops_a_pilot() -> None:
    world = begin(Limits(lifetime_s=50))
    world.now = 50
    world.happen(ev.Tick())
    assert world.stop_asked_of_work
    world.go_on(3)
    assert world.left
    assert world.left.reason == "the pilot's lifetime of 50 s is over"


def test_each_request_tells_the_time_that_is_left() -> None:
    world = World(Limits(lifetime_s=1000, idle_s=0))
    world.happen(ev.Tick())
    world.now = 500
    world.fail_request()
    world.now = 900
    world.happen(ev.Tick())
    asked = [order.remaining_s for order in world.said if isinstance(order, ev.AskForJob)]
    assert asked == [1000, 100]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [(ev.Trouble.TOKEN, TOKEN_REFUSED), (ev.Trouble.REJECTED, FAILED), (ev.Trouble.UNREACHABLE, UNREACHABLE)],
)
def test_trouble_with_the_broker_gives_an_exit_code_each(trouble: ev.Trouble, code: int) -> None:
    world = World(Limits(give_up_s=60))
    world.happen(ev.Tick())
    world.now = 61
    world.fail_request(trouble)
    assert world.left
    assert world.left.code == code


def test_a_broker_that_says_no_at_once_is_asked_ever_less_often() -> None:
    world = World(Limits(idle_s=0))
    for _ in range(6000):
        world.now += 0.1
        world.happen(ev.Tick())
        world.answer_request(1)
    assert len([order for order in world.said if isinstance(order, ev.AskForJob)]) < 30


def test_a_pilot_leaves_the_broker_alone_for_as_long_as_it_wishes() -> None:
    world = World()
    world.happen(ev.Tick())
    world.request = None
    world.happen(ev.NoJob("nothing fits", retry_after_s=10.0))
    asked = len([order for order in world.said if isinstance(order, ev.AskForJob)])
    for _ in range(9):
        world.now += 1.0
        world.happen(ev.Tick())
    assert len([order for order in world.said if isinstance(order, ev.AskForJob)]) == asked
    world.now += 1.1
    world.happen(ev.Tick())
    assert len([order for order in world.said if isinstance(order, ev.AskForJob)]) == asked + 1
