"""What the leader writes for many jobs at once: each batch in one transaction, and no job at another's cost.

Every write is made until the database answers, under the fence of its term. Where the database refuses one
job's part of it, the others are written; that job is held back, and its `job_state`, the log and the metrics
say so. So is a job of which somebody holds rows in a transaction, until they are free.

A COMMIT that is cut off is unknown until it has been looked for with a lock, for it may arrive long after its
connection has ended. Until then nothing may be left out: it may have been written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from piko.clock import Clock
from piko.decisions.events import RowsAccepted, RowsRefused
from piko.decisions.refusals import Refusals
from piko.errors import DatabaseUnavailableError, RowsLockedError
from piko.execution.held_jobs import HeldJobs
from piko.model.runs import Run
from piko.scheduler.insistence import Insistence
from piko.store.isolation import Written, write_isolated
from piko.store.runs import RunStore

T = TypeVar("T")


class IsolatedWrites:
    """The writes of one term. `feed` passes to the leader what the database refuses, and accepts again."""

    def __init__(
        self,
        *,
        insist: Insistence,
        runs: RunStore,
        held: HeldJobs,
        refusals: Refusals,
        feed: Callable[[RowsAccepted | RowsRefused], None],
        clock: Clock,
    ) -> None:
        self._insist = insist
        self._runs = runs
        self._held = held
        self._refusals = refusals
        self._feed = feed
        self._clock = clock

    async def write(
        self,
        what: str,
        write: Callable[[Collection[str] | None], Awaitable[T]],
        *,
        jobs: Callable[[], Iterable[str]],
        runs: Sequence[Run] = (),
        others: Sequence[str] = (),
    ) -> Written[T]:
        """Make `write` for all jobs but those whose trouble it would be, see `write_isolated`.

        `what` names it for people. `runs`, and the run ids of `others`, are what it inserts or moves: a write
        that would find out by itself what an earlier try came to needs none.
        """
        written = await write_isolated(
            lambda part: self._insistently(write, part, runs=runs, others=others),
            jobs=jobs,
            suspects=self._refusals.suspects(what),
            held=self._held.searched(jobs()) if self._held else (),
            whose=lambda job_ids: self._insist(lambda: self._runs.held_jobs(job_ids, runs=runs)),
        )
        if self._held or written.held:
            self._held.hold(written.held, searched=written.searched)
            self._held.free(job_id for job_id in jobs() if job_id not in written.left_out)
        if self._refusals:
            accepted = [job_id for job_id in jobs() if job_id not in written.left_out]
            self._feed(RowsAccepted(what=what, job_ids=accepted, now=self._clock.now()))
        if written.refused:
            self._feed(RowsRefused(what=what, why=written.refused, now=self._clock.now()))
        return written

    async def _insistently(
        self,
        write: Callable[[Collection[str] | None], Awaitable[T]],
        part: Collection[str] | None,
        *,
        runs: Sequence[Run],
        others: Sequence[str],
    ) -> T:
        unknown = False

        async def once() -> T | RowsLockedError:
            nonlocal unknown
            if unknown and (runs or others):
                await self._runs.wait_for(runs, also=others)
            unknown = False
            try:
                return await write(part)
            except RowsLockedError as error:  # nothing was written, and waiting would hold up the others
                return error
            except DatabaseUnavailableError:
                unknown = True
                raise

        found = await self._insist(once)
        if isinstance(found, RowsLockedError):
            raise found
        return found


class _OfJob(Protocol):
    @property
    def job_id(self) -> str: ...


J = TypeVar("J", bound=_OfJob)


def of_jobs(items: Sequence[J], jobs: Collection[str] | None) -> Sequence[J]:
    """Those of `items` that concern `jobs`; None: all."""
    return items if jobs is None else [item for item in items if item.job_id in jobs]
