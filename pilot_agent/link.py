"""The pilot's two requests to the broker, each ending in an event."""

from __future__ import annotations

from dataclasses import replace

from .errors import PilotError, Refusal, TokenRefused
from .events import Answered, AskFailed, AskForJob, Event, GotJob, NoJob, Report, ReportFailed, Trouble
from .http import Client
from .logtail import LogTail
from .messages import Acquire, Acquired, Answer, Answers, Update, Updates, decode, encode

ANSWER_S = 20.0
"""How long an answer may take, beyond the time that the broker was asked to wait."""
REPORT_PATIENCE_S = 10.0
"""How long the client retries a report before the machine thinks again."""


class Link:
    """A pilot's line to its broker; ``offer`` is what each of its requests says of it."""

    def __init__(self, client: Client, offer: Acquire) -> None:
        self._client = client
        self._offer = offer
        self._pilot = offer.pilot

    def ask(self, order: AskForJob, disk_mb: int | None) -> Event:
        """Ask for work; retries keep the request's id, so that a job whose answer was lost is not lost."""
        wish = replace(
            self._offer,
            request=order.request,
            remaining_s=order.remaining_s,
            wait_s=order.wait_s,
            disk_mb=disk_mb,
        )
        try:
            document = self._client.post(
                "/api/pilot/acquire",
                encode(wish),
                timeout_s=order.wait_s + ANSWER_S,
                patience_s=order.patience_s,
            )
            answer = decode(Acquired, document)
        except Exception as error:  # a thread's only way to tell is its event
            return AskFailed(_trouble(error), _words(error))
        return GotJob(answer.jobs[0]) if answer.jobs else NoJob(answer.reason, answer.retry_after_s)

    def report(self, order: Report, log: LogTail) -> Event:
        """Report with the next piece of the log; before a final report all the pieces but the last."""
        try:
            if order.final:
                log.finish()
                log.piece()
                while log.more:
                    answer = self._update(Update(order.job, order.before), log)
                    if answer.command == "discard":
                        return Answered(order.job, answer.command, answer.reason)
                    log.piece()
            answer = self._update(
                Update(
                    order.job,
                    order.state,
                    exit_code=order.exit_code,
                    error=order.error,
                    outputs=order.outputs,
                    metrics=order.metrics,
                ),
                log,
            )
        except Exception as error:  # as above
            return ReportFailed(order.job, _trouble(error), _words(error))
        return Answered(order.job, answer.command, answer.reason)

    def _update(self, update: Update, log: LogTail) -> Answer:
        update.log_offset, update.log = log.piece()
        document = self._client.post(
            "/api/pilot/update",
            encode(Updates(self._pilot, [update])),
            timeout_s=ANSWER_S,
            patience_s=REPORT_PATIENCE_S,
        )
        answers = [answer for answer in decode(Answers, document).answers if answer.job == update.job]
        if not answers:
            raise ValueError(f"the broker's answer says nothing on job {update.job}")
        log.acknowledge()
        return answers[0]


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, TokenRefused):
        return Trouble.TOKEN
    if isinstance(error, (Refusal, ValueError, TypeError)):
        return Trouble.REJECTED  # the same again would fare no better
    return Trouble.UNREACHABLE


def _words(error: Exception) -> str:
    hint = error.hint if isinstance(error, PilotError) else ""
    return f"{error} ({hint})" if hint else str(error) or type(error).__name__
