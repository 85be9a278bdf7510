"""What the database says of runs that are not in this replica's hands: they wait, end, or are lost. Pure."""

from __future__ import annotations

from piko.core.types import FINAL_STATES, RunState
from piko.decisions.backfill_work import BackfillWork
from piko.decisions.due_work import DueWork
from piko.decisions.effects import ReadQueue, Requeue
from piko.decisions.events import (
    NotRunningHere,
    QueueRead,
    RemoteRunsRead,
    UnknownRunsFound,
)
from piko.decisions.outbox import Outbox
from piko.decisions.run_orders import RunOrders
from piko.decisions.runs import Runs


class Readings:
    """Brings the account of runs in step with what was read."""

    def __init__(
        self, *, runs: Runs, due: DueWork, backfills: BackfillWork, orders: RunOrders, outbox: Outbox
    ) -> None:
        self._runs = runs
        self._sources = (due, backfills)
        self._due = due
        self._backfills = backfills
        self._orders = orders
        self._outbox = outbox
        self._ends: dict[str, RunState | None] = {}
        """Ends on other replicas, until the queue is read."""

    def queue_read(self, event: QueueRead) -> None:
        """Take in what waits in the database, and let go of what no longer does."""
        for source in self._sources:
            source.progress.enqueue(run for run in event.runs if self._runs.of(run) is source.progress)
        if event.complete:
            there = {run.run_id for run in event.runs}
            left = dict.fromkeys(run_id for run_id in event.asked if run_id not in there)
            self._have_left(left, event)
        self._backfills.observe(event.backfills)
        self._backfills.cancel_orphans(event.now)
        ends, self._ends = self._ends, {}
        self._have_left(ends, event)

    def _have_left(self, ends: dict[str, RunState | None], event: QueueRead) -> None:
        for source in self._sources if ends else ():
            source.left(ends, event.now)

    def remote_runs_read(self, event: RemoteRunsRead) -> None:
        """Take in the ends of runs that other replicas record.

        A live run that succeeded leaves nothing behind. Before other ends count, the queue is read: retries
        that came of them keep their jobs busy.
        """
        live = self._runs.live
        succeeded: dict[str, RunState | None] = {}
        for run_id, progress in event.found.items():
            if run_id in live.remote:
                self._outbox.series.progressed(progress)
                if progress.state is RunState.SUCCESS:
                    succeeded[run_id] = progress.state
        in_progress = {run_id for run_id, run in event.found.items() if run.state not in FINAL_STATES}
        for run_id in event.asked:
            if run_id not in in_progress and run_id not in succeeded:
                found = event.found.get(run_id)
                self._ends[run_id] = None if found is None else found.state
        if succeeded:
            self._due.left(succeeded, event.now)
        if self._ends:
            self._outbox.put(ReadQueue())

    def unknown_runs_found(self, event: UnknownRunsFound) -> None:
        """Runs of other replicas take their slots; those that nobody will end are given up."""
        for run in event.runs:
            self._runs.of(run).hold([run])
        for run, why in event.lost:
            self._orders.conclude(run, RunState.LOST, why, event.now)
        if event.unbegun:
            self._outbox.put(Requeue(runs=event.unbegun))

    def not_running_here(self, event: NotRunningHere) -> None:
        """A run that is to be cancelled is ended in the database: the replica that runs it sees that."""
        if (run := self._runs.find(event.run_id)) is not None:
            self._orders.conclude(run, RunState.CANCELLED, event.reason, event.now)
