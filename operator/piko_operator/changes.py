"""Follows the rows: what SQL has edited goes to the mirror, what the runtime has written to the status.

This is a loop of its own, so that drift is seen although many statuses wait to be written. It reads only what
has changed since the last look, and compares all rows from time to time.

Where the runtime has written its own values of a row, an edit without a new `version` in the same moment
looks the same. So these rows are compared, too, but together and less often: watermarks move all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from piko.background.periodic import Transient, repeat
from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko.store.row_changes import RowChange, RowChanges
from piko_operator.inventory import JOB_CONFIG, SCHEDULE, Inventory

_COMPLETE_EVERY_S = 60.0

log = get_logger(__name__)


class Changes:
    """Marks the resources whose rows have changed."""

    name = "changes"

    def __init__(
        self,
        *,
        inventory: Inventory,
        schedules: RowChanges,
        configs: RowChanges,
        states: RowChanges,
        look: Callable[..., None],
        interval_s: float,
    ) -> None:
        self._inventory = inventory
        self._schedules = schedules
        self._configs = configs
        self._states = states
        self._look = look
        self._interval_s = interval_s
        self._rounds = 0
        self._by_runtime: set[str] = set()

    async def run(self) -> None:
        """Follow the rows until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,),
            report=lambda error: log.info("changes_without_database", error=str(error)),
        )
        await repeat(self.update, pause_s=self._interval_s, transient=[away])

    async def update(self) -> None:
        """Look once. Raises `DatabaseUnavailableError`."""
        complete = self._rounds % max(1, round(_COMPLETE_EVERY_S / self._interval_s)) == 0
        schedules = await self._schedules.look(completely=complete)
        configs = await self._configs.look(completely=complete)
        states = await self._states.look(completely=complete)
        self._mark(SCHEDULE, schedules)
        self._mark(JOB_CONFIG, configs)
        self._look_at(SCHEDULE, (change.job_id for change in (*schedules, *states)))
        self._look_at(JOB_CONFIG, (change.job_id for change in configs))
        if complete:
            self._mark_jobs(SCHEDULE, self._by_runtime)
            self._by_runtime.clear()
            # A revision may change although its config does not.
            self._look(*(seen.uid for seen in self._inventory.all(JOB_CONFIG)))
        self._rounds += 1

    def _mark(self, kind: str, changes: Iterable[RowChange]) -> None:
        found = list(changes)
        own = {change.job_id for change in found if is_by_runtime(change)}
        self._by_runtime |= own
        self._mark_jobs(kind, (change.job_id for change in found if change.job_id not in own))

    def _mark_jobs(self, kind: str, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self._inventory.mark(*(seen.uid for seen in self._inventory.of_job(kind, job_id)))

    def _look_at(self, kind: str, job_ids: Iterable[str]) -> None:
        self._look(*(seen.uid for job_id in job_ids for seen in self._inventory.of_job(kind, job_id)))


def is_by_runtime(change: RowChange) -> bool:
    """Whether the runtime's own values of a row have changed, and neither version nor owner."""
    (_, *before), (_, *after) = change.before or (None,), change.after or (None,)
    return bool(before) and bool(after) and before[:2] == after[:2] and before[2:] != after[2:]
