"""Jobs that are left out for a while because an open transaction holds one of their rows.

Most such locks belong to another replica and are released within milliseconds. One that lasts belongs to a
person who has forgotten a COMMIT: it is logged with the job and its duration, again whenever the duration has
doubled, and when it ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from piko.clock import Clock
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics

_SOONEST_S = 0.05
_LATEST_S = 1.0
_LOG_AFTER_S = 1.0
_FORGET_AFTER_S = 10.0
"""Seconds after which a job that was not met again is forgotten: it is not due, or was deleted."""

log = get_logger(__name__)


class HeldJobs:
    """The held jobs that one writer has met. `writer` names it: `claims` or `outcomes`."""

    def __init__(self, *, writer: str, clock: Clock, metrics: Metrics) -> None:
        self._writer = writer
        self._clock = clock
        self._since: dict[str, float] = {}
        self._again_at: dict[str, float] = {}
        self._log_at: dict[str, float] = {}
        self._searched: set[str] = set()
        metrics.jobs_held.labels(writer).set_function(lambda: len(self.long_held))

    @property
    def long_held(self) -> set[str]:
        """Jobs held for so long that a person should act. May be read from any thread."""
        now = self._clock.monotonic()
        return {
            job_id
            for job_id, since in list(self._since.items())
            if now - since >= _LOG_AFTER_S and now - self._again_at.get(job_id, now) < _FORGET_AFTER_S
        }

    def __bool__(self) -> bool:
        return bool(self._since)

    def searched(self, job_ids: Iterable[str]) -> set[str]:
        """Those of `job_ids` that were held, and that a failing write cannot name."""
        return self._searched & set(job_ids)

    def left_out(self) -> set[str]:
        """Jobs that are not to be tried yet."""
        now = self._clock.monotonic()
        return {job_id for job_id, at in self._again_at.items() if at > now}

    def again_in_s(self) -> float:
        """Seconds until one of them is to be tried again."""
        return max(min(self._again_at.values(), default=0.0) - self._clock.monotonic(), 0.0)

    def hold(self, job_ids: Iterable[str], *, searched: Collection[str] = ()) -> float:
        """Leave out `job_ids`; returns the seconds after which the last of them is to be tried again.

        `searched`: those of them that had to be searched for.
        """
        now, longest = self._clock.monotonic(), 0.0
        self._searched |= set(searched)
        for job_id in [each for each, at in self._again_at.items() if now - at > _FORGET_AFTER_S]:
            for known in (self._since, self._again_at, self._log_at):
                known.pop(job_id, None)
            self._searched.discard(job_id)
        for job_id in job_ids:
            held_s = now - self._since.setdefault(job_id, now)
            pause = min(max(held_s, _SOONEST_S), _LATEST_S)
            self._again_at[job_id] = now + pause
            longest = max(longest, pause)
            if held_s >= self._log_at.setdefault(job_id, _LOG_AFTER_S):
                self._log_at[job_id] = 2 * held_s
                log.warning(
                    "rows_held",
                    job_id=job_id,
                    held_s=round(held_s, 1),
                    waits=self._writer,
                    hint="an open transaction holds rows of this job: COMMIT or ROLLBACK it; "
                    "other jobs are not affected",
                )
        return longest

    def free(self, job_ids: Iterable[str]) -> None:
        """Note that `job_ids` were written, so nothing holds them."""
        for job_id in self._since.keys() & set(job_ids):
            held_s = self._clock.monotonic() - self._since.pop(job_id)
            self._again_at.pop(job_id, None)
            self._searched.discard(job_id)
            if self._log_at.pop(job_id, _LOG_AFTER_S) > _LOG_AFTER_S:
                log.info("rows_free_again", job_id=job_id, held_s=round(held_s, 1))
