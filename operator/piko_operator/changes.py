"""Follows the rows: what SQL has edited goes to the mirror, what the runtime has written to the status.

This is a loop of its own, so that drift is seen although many statuses wait to be written. It reads only what
has changed since the last look, and compares all rows from time to time.

What the runtime alone has written is not compared with the resource: watermarks move all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from piko.background.periodic import Transient, repeat
from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko.store.row_changes import RowChanges
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
        self.database_error: str | None = None
        """Why the rows cannot be read now; current, because they are read however little there is to do."""

    async def run(self) -> None:
        """Follow the rows until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._without_database)
        await repeat(self.update, pause_s=self._interval_s, transient=[away])

    async def update(self) -> None:
        """Look once. Raises `DatabaseUnavailableError`."""
        complete = self._rounds % max(1, round(_COMPLETE_EVERY_S / self._interval_s)) == 0
        await self._follow(SCHEDULE, self._schedules, complete=complete)
        await self._follow(JOB_CONFIG, self._configs, complete=complete)
        states = await self._states.look(completely=complete)
        self._look_at(SCHEDULE, (change.job_id for change in states))
        if complete:
            # A revision may change although its config does not.
            self._look(*(seen.uid for seen in self._inventory.all(JOB_CONFIG)))
        self._rounds += 1
        self.database_error = None

    def _without_database(self, error: Exception) -> None:
        log.info("changes_without_database", error=str(error))
        self.database_error = str(error)

    async def _follow(self, kind: str, feed: RowChanges, *, complete: bool) -> None:
        """Look at one table, and mark what that shows at once: it is shown once, and the next may fail."""
        begins = not feed.has_begun
        changes = await feed.look(completely=complete)
        if begins:  # a row may have been edited after it was compared and before the feed began
            self._inventory.compare(*(seen.uid for seen in self._inventory.all(kind)))
        edited = [change.job_id for change in changes if change.is_edit]
        self._inventory.mark(
            *(seen.uid for job_id in edited for seen in self._inventory.of_job(kind, job_id))
        )
        self._look_at(kind, (change.job_id for change in changes))

    def _look_at(self, kind: str, job_ids: Iterable[str]) -> None:
        self._look(*(seen.uid for job_id in job_ids for seen in self._inventory.of_job(kind, job_id)))
