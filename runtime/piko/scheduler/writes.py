"""What the leader writes for many jobs at once: each batch in one transaction, and no job at another's cost.

Every write is made until the database answers, under the fence of its term. Where the database refuses one
job's part of it, the others are written; that job is held back, and told so in its `job_state`, in the log
and in the metrics. So is a job of which somebody holds rows in a transaction, until they are free.

A COMMIT that is cut off is unknown until it has been looked for with a lock, for it may arrive long after its
connection has ended. Until then nothing may be left out: it may have been written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.clock import Clock
from piko.decisions.claim_plan import ClaimPlan
from piko.errors import DatabaseUnavailableError, RowsLockedError
from piko.execution.held_jobs import HeldJobs
from piko.model.fences import Fence
from piko.model.runs import Run
from piko.model.states import JobState
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.scheduler.term import Term
from piko.store.configs import ConfigStore
from piko.store.isolation import Written, write_isolated
from piko.store.runs import RunStore
from piko.store.states import StateStore

T = TypeVar("T")

log = get_logger(__name__)

_STATES = "the row of job_state"


class Insist(Protocol):
    """Makes a call until the database answers or leadership ends."""

    async def __call__(self, fence: Fence, call: Callable[[], Awaitable[T]]) -> T: ...


class Writes:
    """The writes of one term."""

    def __init__(
        self,
        *,
        term: Term,
        insist: Insist,
        runs: RunStore,
        states: StateStore,
        configs: ConfigBook,
        config_rows: ConfigStore,
        clock: Clock,
        metrics: Metrics,
        held: HeldJobs,
        offers: bool,
    ) -> None:
        self.term = term
        self._insist = insist
        self._runs = runs
        self._states = states
        self._configs = configs
        self._config_rows = config_rows
        self._clock = clock
        self._metrics = metrics
        self._held = held
        self._offers = offers
        self._unwritten: set[str] = set()

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make `call` until the database answers. Raises `FencedError` when the term ends first."""
        return await self._insist(self.term.fence, call)

    async def claim(self, plan: ClaimPlan, token: str, now: datetime) -> dict[str, Run]:
        """Claim what is drafted; the runs that are ours, by id. `plan` keeps what could be written."""
        batch, fence = plan.batch(token), self.term.fence
        # The same token until it is known what became of it: a COMMIT that was cut off may have worked.
        written = await self.isolated(
            "a claim",
            lambda jobs: self._runs.claim(batch if jobs is None else batch.only(jobs), fence, now=now),
            jobs=lambda: batch.jobs,
            runs=batch.runs,
            others=[item.run_id for item in batch.passed_over],
        )
        if written.left_out:
            plan.leave_out(written.left_out)
            self.term.put_off(written.held, now + timedelta(seconds=self._held.again_in_s()))
        won: dict[str, Run] = {}
        for part in written.results:
            won.update(part)
        return won

    async def states(self, write: Sequence[JobState]) -> None:
        """Write states; those that somebody holds are for `try_again`."""
        fence = self.term.fence
        written = await self.isolated(
            _STATES,
            lambda jobs: self._states.write(_of(write, jobs), fence),
            jobs=lambda: [state.job_id for state in write],
        )
        self.term.unwritten(written.held)
        self._unwritten |= written.held

    def try_again(self, catalog: Catalog) -> None:
        """Have the states written that somebody held."""
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, set()
            catalog.touch(unwritten)

    async def configs(self) -> None:
        """Write down the revisions that are not recorded yet."""
        if not (waiting := self._configs.unrecorded()):
            return
        now, fence = self._clock.now(), self.term.fence
        revisions = [item for item in waiting if self.term.refusals.held(item.job_id, now) is None]
        if not revisions:
            return
        written = await self.isolated(
            "a revision of the config",
            lambda jobs: self._config_rows.record(_of(revisions, jobs), fence),
            jobs=lambda: [item.job_id for item in revisions],
        )
        self._configs.recorded(item for item in revisions if item.job_id not in written.left_out)

    async def begin(self, runs: Sequence[Run], now: datetime) -> tuple[Sequence[Run], set[str]]:
        """Let queued runs start, here or elsewhere: those of `runs` that could be written, and of these the
        ids that were still queued."""
        fence = self.term.fence
        if self._offers:
            await self.configs()  # what is offered names its revision
        written = await self.isolated(
            "the start of a run",
            lambda jobs: (
                self._runs.offer(_of(runs, jobs), fence)
                if self._offers
                else self._runs.start(_of(runs, jobs), fence, now=now)
            ),
            jobs=lambda: [run.job_id for run in runs],
            runs=runs,
        )
        tried = [run for run in runs if run.job_id not in written.left_out]
        return tried, set().union(*written.results)

    async def isolated(
        self,
        what: str,
        write: Callable[[Collection[str] | None], Awaitable[T]],
        *,
        jobs: Callable[[], Iterable[str]],
        runs: Sequence[Run] = (),
        others: Sequence[str] = (),
    ) -> Written[T]:
        """Make `write` for all jobs but those whose trouble it would be, see `write_isolated`.

        `runs`, and the run ids of `others`, are what it writes anew, or moves: a write that would find out by
        itself what an earlier try came to needs none.
        """
        refusals = self.term.refusals

        async def insistently(part: Collection[str] | None) -> T:
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

            found = await self.insist(once)
            if isinstance(found, RowsLockedError):
                raise found
            return found

        written = await write_isolated(
            insistently,
            jobs=jobs,
            suspects=refusals.suspects(what),
            held=self._held.searched(jobs()) if self._held else (),
            whose=lambda job_ids: self.insist(lambda: self._runs.held_jobs(job_ids, runs=runs)),
        )
        if self._held or written.held:
            self._held.hold(written.held, searched=written.searched)
            self._held.free(job_id for job_id in jobs() if job_id not in written.left_out)
        if refusals:
            self.accepted(what, (job_id for job_id in jobs() if job_id not in written.left_out))
        if written.refused:
            self.refused(what, written.refused)
        return written

    def accepted(self, what: str, job_ids: Iterable[str]) -> None:
        """The database has taken `what` of these jobs."""
        now = self._clock.now()
        for job_id in self.term.refusals.accepted(job_ids, what):
            log.info("database_takes_it_again", job_id=job_id, what=what)
            self.term.reconsider(job_id, now)

    def refused(self, what: str, refused: Mapping[str, str]) -> None:
        """The database has refused `what` of these jobs, with these words."""
        now = self._clock.now()
        for job_id, why in refused.items():
            refusal = self.term.refusals.note(job_id, what, why, now)
            self._metrics.rows_refused.labels(what).inc()
            log.error(
                "database_refuses",
                job_id=job_id,
                what=what,
                why=why,
                times=refusal.times,
                again_at=refusal.until.isoformat(),
            )
            if what != _STATES:  # there it cannot be told
                self.term.reconsider(job_id, now)


class _OfJob(Protocol):
    @property
    def job_id(self) -> str: ...


J = TypeVar("J", bound=_OfJob)


def _of(items: Sequence[J], jobs: Collection[str] | None) -> Sequence[J]:
    return items if jobs is None else [item for item in items if item.job_id in jobs]
