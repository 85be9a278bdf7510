"""Jobs of which the database refuses something: what, and when each is tried again. Pure.

Such a job is held back by itself, for a time that doubles from refusal to refusal; all others go on. What is
refused may be put right on the server at any time, so nothing is given up: it is tried again until it works.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from piko.background.backoff import Backoff
from piko.text import instant_text

JOB_STATE = "the row of job_state"
"""What is refused where a job's state cannot be written: then the state cannot say so."""
_BACKOFF = Backoff(first_s=5.0, longest_s=300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`what` of a job the database refuses, in its words, for the `times`-th time."""

    what: str
    why: str
    times: int
    until: datetime

    @property
    def message(self) -> str:
        when = instant_text(self.until, whole_seconds=True)
        return f"the database refuses {self.what} of this job: {self.why}; it is tried again at {when}"


class Refusals:
    """By job."""

    def __init__(self) -> None:
        self._of_job: dict[str, dict[str, Refusal]] = {}

    def __bool__(self) -> bool:
        return bool(self._of_job)

    def note(self, job_id: str, what: str, why: str, now: datetime) -> Refusal:
        """The database has refused `what` of `job_id` just now."""
        of_job = self._of_job.setdefault(job_id, {})
        before = of_job.get(what)
        times = 1 if before is None else before.times + 1
        pause = _BACKOFF.pause_s(times)
        of_job[what] = new = Refusal(what=what, why=why, times=times, until=now + timedelta(seconds=pause))
        return new

    def accepted(self, job_ids: Iterable[str], what: str) -> list[str]:
        """The database has taken `what` of `job_ids`; the jobs that nothing holds back any more."""
        free = []
        for job_id in job_ids if self._of_job else ():
            of_job = self._of_job.get(job_id, {})
            if of_job.pop(what, None) is not None and not of_job:
                del self._of_job[job_id]
                free.append(job_id)
        return free

    def held(self, job_id: str, now: datetime) -> Refusal | None:
        """What holds `job_id` back at `now`; of several the one that does so for longest."""
        of_job = self._of_job.get(job_id)
        if of_job is None:
            return None
        longest = max(of_job.values(), key=lambda item: item.until)
        return longest if longest.until > now else None

    def suspects(self, what: str) -> Collection[str]:
        """Jobs of which `what` was refused before: whatever is written of them is written alone."""
        return {job_id for job_id, of_job in self._of_job.items() if what in of_job} if self._of_job else ()

    def forget(self, job_id: str) -> None:
        """The job is no more."""
        self._of_job.pop(job_id, None)
