"""The runs that a leader keeps account of, live ones apart from those of backfills."""

from __future__ import annotations

from piko.decisions.open_runs import OpenRuns
from piko.model.runs import Run


class Runs:
    """Two accounts, because the runs of backfills must not keep out live ones; see `backfill_work`."""

    def __init__(self) -> None:
        self.live = OpenRuns()
        self.backfills = OpenRuns()

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
