"""Where a run that may start goes: to the leader's own process, or to whichever replica takes it first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from piko.catalog.assessed_rows import AssessedRows
from piko.core.registry import JobDefinition
from piko.core.types import RunState
from piko.model.runs import Run

_STEP = timedelta(microseconds=1)


class Placement(Protocol):
    """Makes a run that may start one that starts here, or one that is offered."""

    def place(self, run: Run, now: datetime) -> Run:
        """`run`, which waited in the database, as it is written when it may start."""
        ...

    def where(self, job_id: str, now: datetime, *, chained: bool = False) -> dict[str, Any]:
        """What a run of `job_id` is claimed with that may start; `chained`: another waits for its end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Here(Placement):
    """Runs start in the leader's process."""

    instance_id: str

    def place(self, run: Run, now: datetime) -> Run:
        return replace(run, **self.where(run.job_id, now))

    def where(self, job_id: str, now: datetime, *, chained: bool = False) -> dict[str, Any]:  # noqa: ARG002 - the other one asks for them
        return {"state": RunState.RUNNING, "instance_id": self.instance_id, "offered_at": None}


class Anywhere(Placement):
    """Runs are offered to every replica, with the revision of the config that they are to have.

    No two are offered at one instant: replicas take them in the order in which they were placed. What is
    claimed and `keeps` says so of starts in the leader's process: it is written once, and followed by nobody.
    So does one window of a backlog with a leader that is `idle`: the next one waits for its end.
    """

    def __init__(
        self,
        *,
        rows: AssessedRows,
        revision: Callable[[JobDefinition, datetime], int | None],
        here: Here,
        idle: Callable[[], bool],
        keeps: Callable[[datetime], bool],
    ) -> None:
        self._rows = rows
        self._revision = revision
        self._here = here
        self._idle = idle
        self._keeps = keeps
        self._kept_at: datetime | None = None
        self._last: datetime | None = None

    def place(self, run: Run, now: datetime) -> Run:
        return replace(run, **self._offer(run.job_id, now))

    def where(self, job_id: str, now: datetime, *, chained: bool = False) -> dict[str, Any]:
        if chained and now != self._kept_at and self._idle():
            self._kept_at = now
            return self._here.where(job_id, now)
        if not chained and self._keeps(now):
            return self._here.where(job_id, now)
        return self._offer(job_id, now)

    def _offer(self, job_id: str, now: datetime) -> dict[str, Any]:
        offered_at = now if self._last is None else max(now, self._last + _STEP)
        self._last = offered_at
        job = self._rows.job(job_id)
        revision = None if job is None else self._revision(job.definition, now)
        return {
            "state": RunState.QUEUED,
            "instance_id": None,
            "offered_at": offered_at,
            "config_revision": revision,
        }
