"""The runs that a leader keeps account of, live ones apart from those of backfills."""

from __future__ import annotations

from datetime import datetime

from piko.decisions.open_runs import OpenRuns
from piko.model.runs import Run


class Runs:
    """Two accounts, because the runs of backfills must not keep out live ones; see `backfill_work`."""

    def __init__(self) -> None:
        self.live = OpenRuns()
        self.backfills = OpenRuns()
        self._oldest: datetime | None = None

    def of(self, run: Run) -> OpenRuns:
        """The account that `run` belongs to."""
        return self.live if run.backfill_id is None else self.backfills

    def find(self, run_id: str) -> Run | None:
        """The run of that id, where it is in progress or waits."""
        return self.live.find(run_id) or self.backfills.find(run_id)

    @property
    def waiting_ids(self) -> set[str]:
        """Runs that wait for their turn."""
        return {*self.live.waiting, *self.backfills.waiting}

    @property
    def running_ids(self) -> set[str]:
        """Runs in progress, on any replica."""
        return {*self.live.running, *self.backfills.running}

    @property
    def remote_ids(self) -> set[str]:
        """Runs in progress whose end only the database can tell."""
        return self.live.remote | self.backfills.remote

    def taken_ids(self, oldest: datetime | None) -> set[str] | None:
        """Those of `remote_ids` that wait no longer; `oldest`: of when the oldest offer is that does.

        Replicas take runs in the order in which they are offered. None where the oldest offer is the same as
        at the last call: it may be one that no replica takes, and then others behind it are taken.
        """
        before, self._oldest = self._oldest, oldest
        if oldest == before:
            return None
        return self.live.taken(oldest) | self.backfills.taken(oldest)
