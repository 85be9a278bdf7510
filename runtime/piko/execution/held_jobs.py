"""Jobs that are left out for a while, as somebody holds one of their rows in an open transaction.

Most such locks are a neighbour's and gone in milliseconds. One that stays is a person's, who has forgotten a
COMMIT: it is told with the job and for how long, again whenever that has doubled, and when it is over.
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
"""A job that was not met again since then is not due, or is not there any more."""

log = get_logger(__name__)


class HeldJobs:
    """What one writer has met. `writer` names it: `claims` or `outcomes`."""

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
        """Jobs held for so long that somebody should look; may be asked from any thread."""
        now = self._clock.monotonic()
        return {
            job_id
            for job_id, since in list(self._since.items())
            if now - since >= _LOG_AFTER_S and now - self._again_at.get(job_id, now) < _FORGET_AFTER_S
        }

    def __bool__(self) -> bool:
        return bool(self._since)

    def searched(self, job_ids: Iterable[str]) -> set[str]:
        """Of `job_ids` those that were held, and that no write can name when it meets them again."""
        return self._searched & set(job_ids)

    def left_out(self) -> set[str]:
        """Jobs that are not to be looked at yet."""
        now = self._clock.monotonic()
        return {job_id for job_id, at in self._again_at.items() if at > now}

    def again_in_s(self) -> float:
        """Until one of them is to be looked at again."""
        return max(min(self._again_at.values(), default=0.0) - self._clock.monotonic(), 0.0)

    def hold(self, job_ids: Iterable[str], *, searched: Collection[str] = ()) -> float:
        """Leave out `job_ids`; after how many seconds the last of them is to be looked at again.

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
                    hint="somebody holds rows of this job in an open transaction: COMMIT or ROLLBACK it; "
                    "the other jobs go on",
                )
        return longest

    def free(self, job_ids: Iterable[str]) -> None:
        """`job_ids` were written: nobody holds them."""
        for job_id in self._since.keys() & set(job_ids):
            held_s = self._clock.monotonic() - self._since.pop(job_id)
            self._again_at.pop(job_id, None)
            self._searched.discard(job_id)
            if self._log_at.pop(job_id, _LOG_AFTER_S) > _LOG_AFTER_S:
                log.info("rows_free_again", job_id=job_id, held_s=round(held_s, 1))
