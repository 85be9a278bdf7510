"""Replays outcomes that an ended process left on disk: each is recorded if its run still has no end.

This is the first step of a replica, because a leader gives up the runs of instances that have ended, and a
run that was given up keeps that end. Whether an outcome still counts is decided by the database, as for a
live process: the run has no other end, still belongs to that instance, and its fence is still valid. Outcomes
of a job that the database refuses stay in the file, and the others are recorded.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path

from piko.core.types import RunState
from piko.errors import FencedError, SpoolError
from piko.execution.ledger import count_end
from piko.model.fences import InstanceFence, OutcomeFence
from piko.model.runs import Outcome
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.spool.outcomes import Account, KeptOutcome, OutcomeSpool, left_behind
from piko.store.isolation import write_isolated
from piko.store.runs import RunStore

_CHUNK = 500

log = get_logger(__name__)


class OutcomeReplay:
    """Records the outcomes that were left behind in `folder`."""

    def __init__(self, *, runs: RunStore, metrics: Metrics, folder: Path) -> None:
        self._runs = runs
        self._metrics = metrics
        self._folder = folder

    async def replay(self) -> None:
        """Replay every file whose process has ended. Raises `DatabaseUnavailableError`: call again then.

        A file that cannot be read is logged and left in place; it does not keep the replica from starting.
        """
        spools = await left_behind(self._folder)
        try:
            for spool in spools:
                try:
                    await self._replay(spool)
                except SpoolError as error:
                    self._metrics.outcome_spool_errors.inc()
                    log.error("outcomes_not_replayed", path=str(spool.path), error=str(error))
        finally:
            for spool in spools:
                try:
                    await spool.close()
                except SpoolError as error:
                    log.error("outcome_spool_not_closed", path=str(spool.path), error=str(error))

    async def _replay(self, spool: OutcomeSpool) -> None:
        found: Counter[str] = Counter()
        last = 0
        while kept := await spool.fetch(after=last, limit=_CHUNK):
            readable: list[Account] = []
            for item in kept:
                if item.account is None:
                    found["unreadable"] += 1
                    log.error("outcome_unreadable", path=str(spool.path), body=item.body)
                else:
                    readable.append(item.account)
            refused: set[str] = set()
            for fence, group in groupby(readable, key=lambda item: item.fence):
                found.update(await self._record([item.outcome for item in group], fence, refused))
            await spool.remove([item.number for item in kept if _job_of(item) not in refused])
            last = kept[-1].number
        for how, number in found.items():
            self._metrics.outcomes_recovered.labels(how).inc(number)
        if found:
            log.warning("outcomes_replayed", path=str(spool.path), **found)

    async def _record(self, outcomes: list[Outcome], fence: OutcomeFence, refused: set[str]) -> Counter[str]:
        """Record the outcomes that still count, and count them by result.

        Jobs whose outcomes the database refuses, or whose rows are held, are added to `refused`.
        """
        if not isinstance(
            fence, InstanceFence
        ):  # recorded by a leader: the next leader decides about those runs itself
            return Counter(superseded=len(outcomes))
        first: dict[str, Outcome] = {}
        for outcome in outcomes:
            first.setdefault(outcome.run.run_id, outcome)
        states = await self._runs.states(first)
        open_ends = [outcome for run_id, outcome in first.items() if states.get(run_id) is RunState.RUNNING]
        recorded: set[str] = set()
        if open_ends:
            try:
                written = await write_isolated(
                    lambda jobs: self._runs.finish(
                        open_ends
                        if jobs is None
                        else [item for item in open_ends if item.run.job_id in jobs],
                        fence,
                    ),
                    jobs=lambda: [item.run.job_id for item in open_ends],
                )
                recorded = set().union(*written.results)
                refused.update(written.left_out)
                held = dict.fromkeys(written.held, "an open transaction holds its rows")
                for job_id, why in {**written.refused, **held}.items():
                    log.error("outcome_not_replayed", job_id=job_id, why=why)
            except FencedError as error:
                log.warning(
                    "outcomes_refused", runs=[item.run.run_id for item in open_ends], error=str(error)
                )
        for outcome in first.values():
            if outcome.run.job_id in refused:  # it stays in the file, for the next start
                continue
            run_id, row = outcome.run.run_id, states.get(outcome.run.run_id)
            if run_id in recorded:
                count_end(self._metrics, outcome)
            elif row is not outcome.state:  # otherwise its own first write, whose COMMIT was cut off
                log.warning(
                    "outcome_dropped",
                    job_id=outcome.run.job_id,
                    run_id=run_id,
                    state=outcome.state.value,
                    row="deleted" if row is None else row.value,
                )
        kept = sum(outcome.run.job_id in refused for outcome in outcomes)
        return Counter(recorded=len(recorded), refused=kept, superseded=len(outcomes) - len(recorded) - kept)


def _job_of(item: KeptOutcome) -> str | None:
    return None if item.account is None else item.account.outcome.run.job_id
