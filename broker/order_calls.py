"""The part of the client that gives orders, and reads the journal of them. See client.Client.

Orders answer what they did, or with ``dry_run`` would do: verb, object, changes by field [before, after], jobs that
they act on by their state, and a note.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from .data_calls import DataCalls, Document


class OrderCalls(DataCalls):
    """Orders, over ``_json`` of the client; repeated if the answer is lost, where that changes nothing."""

    def _order(self, path: str, reason: str, dry_run: bool, *, again: bool = True, **body: Any) -> Document:
        return self._json("POST", path, body={"reason": reason, "dry_run": dry_run, **body}, again=again)

    # Tasks and jobs

    def kill_task(self, id: int, reason: str = "", *, dry_run: bool = False) -> Document:  # noqa: A002
        return self._order(f"/api/tasks/{id}/kill", reason, dry_run)

    def pause_task(self, id: int, reason: str = "", *, dry_run: bool = False) -> Document:  # noqa: A002
        return self._order(f"/api/tasks/{id}/pause", reason, dry_run)

    def resume_task(self, id: int, reason: str = "", *, dry_run: bool = False) -> Document:  # noqa: A002
        return self._order(f"/api/tasks/{id}/resume", reason, dry_run)

    def finish_task(self, id: int, reason: str = "", *, dry_run: bool = False) -> Document:  # noqa: A002
        return self._order(f"/api/tasks/{id}/finish", reason, dry_run)

    def retry_task(
        self,
        id: int,  # noqa: A002
        reason: str = "",
        *,
        new_inputs: bool = False,
        dry_run: bool = False,
    ) -> Document:
        return self._order(f"/api/tasks/{id}/retry", reason, dry_run, again=False, new_inputs=new_inputs)

    def reassign_task(
        self,
        id: int,  # noqa: A002
        to: str | None = None,
        reason: str = "",
        *,
        dry_run: bool = False,
    ) -> Document:
        return self._order(f"/api/tasks/{id}/reassign", reason, dry_run, again=False, to=to)

    def set_task(
        self,
        id: int,  # noqa: A002
        changes: Mapping[str, Any],
        reason: str = "",
        *,
        dry_run: bool = False,
    ) -> Document:
        """Change what the task asks for; None takes a limit away."""
        return self._order(f"/api/tasks/{id}/set", reason, dry_run, changes=dict(changes))

    def kill_job(self, id: int, reason: str = "", *, dry_run: bool = False) -> Document:  # noqa: A002
        return self._order(f"/api/jobs/{id}/kill", reason, dry_run)

    def reassign_job(
        self,
        id: int,  # noqa: A002
        to: str | None = None,
        reason: str = "",
        *,
        dry_run: bool = False,
    ) -> Document:
        return self._order(f"/api/jobs/{id}/reassign", reason, dry_run, again=False, to=to)

    def set_job_priority(
        self,
        id: int,  # noqa: A002
        priority: int,
        reason: str = "",
        *,
        dry_run: bool = False,
    ) -> Document:
        return self._order(f"/api/jobs/{id}/priority", reason, dry_run, priority=priority)

    # Queues, rules, shares, quotas of work, groups

    def order_queue(self, name: str, status: str, reason: str = "", *, dry_run: bool = False) -> Document:
        """``status``: online, drain or offline."""
        return self._order(f"/api/queues/{quote(name, safe='')}/{status}", reason, dry_run)

    def apply_rules(self, text: str, reason: str = "", *, name: str | None = None, dry_run: bool = False) -> Document:
        """``name``: the file's, for errors."""
        return self._order("/api/rules", reason, dry_run, text=text, name=name)

    def apply_shares(
        self, text: str, reason: str = "", *, name: str | None = None, dry_run: bool = False
    ) -> Document:
        """``name``: the file's, for errors."""
        return self._order("/api/shares/apply", reason, dry_run, text=text, name=name)

    def set_share(self, name: str, value: float, reason: str = "", *, dry_run: bool = False) -> Document:
        return self._order(f"/api/shares/{quote(name, safe='')}/set", reason, dry_run, value=value)

    def work_quotas(self, subject: str | None = None) -> list[Document]:
        return list(self._listing("/api/quotas/work", {"subject": subject}, None))

    def set_work_quota(
        self, subject: str, limits: Mapping[str, Any], reason: str = "", *, dry_run: bool = False
    ) -> Document:
        """``limits``: running, queued, core_hours, days; None: no limit; those that are not named stay."""
        return self._order("/api/quotas/work", reason, dry_run, subject=subject, **limits)

    def groups(self, user: str | None = None) -> list[Document]:
        return list(self._listing("/api/groups", {"user": user}, None))

    def group(self, name: str) -> Document:
        return self._json("GET", f"/api/groups/{quote(name, safe='')}")

    def add_to_group(
        self, name: str, user: str, reason: str = "", *, leads: bool = False, dry_run: bool = False
    ) -> Document:
        return self._order(f"/api/groups/{quote(name, safe='')}/add", reason, dry_run, user=user, leads=leads)

    def remove_from_group(self, name: str, user: str, reason: str = "", *, dry_run: bool = False) -> Document:
        return self._order(f"/api/groups/{quote(name, safe='')}/remove", reason, dry_run, user=user)

    # Tokens

    def tokens(self, subject: str | None = None) -> list[Document]:
        """Those that are good now; ``id`` names each."""
        return list(self._listing("/api/tokens", {"subject": subject}, None))

    def revoke_token(self, id: str, reason: str = "", *, dry_run: bool = False) -> Document:  # noqa: A002
        return self._order(f"/api/tokens/{quote(id, safe='')}/revoke", reason, dry_run, again=False)

    # The journal

    def journal(self, *, limit: int | None = 100, **filters: str | None) -> list[Document]:
        """Newest first; filters: object (as in ``task 10000001``), by, verb."""
        return list(self._listing("/api/journal", filters, limit))
