"""Due work to claimed runs: the shell around a `Term`.

While this replica leads, the loop sleeps until the earliest instant, claims everything that is due by then
in one transaction, and starts what was won. It is woken by edits of rows, ends of runs and the end of its
leadership. Each write is made under the fence; where it is refused, the term is over.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from piko.background.waiting import happens
from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.clock import Clock
from piko.core.identity import Ids
from piko.core.types import FAILED_STATES, RunState
from piko.decisions.claim_plan import ClaimPlan
from piko.decisions.ends import next_attempt, without_row
from piko.decisions.lateness import overdue
from piko.decisions.placement import Anywhere, Here, Placement
from piko.errors import DatabaseUnavailableError, FencedError
from piko.execution.executor import Executor
from piko.execution.held_jobs import HeldJobs
from piko.execution.ledger import Ledger
from piko.execution.outcome import Ending, conclude
from piko.leadership.elector import Elector
from piko.model.fences import Fence, InstanceFence, OutcomeFence
from piko.model.instances import Instance
from piko.model.runs import Outcome, Run
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.scheduler.adoption import Adoption
from piko.scheduler.backfiller import Backfiller, split
from piko.scheduler.orphans import Orphans
from piko.scheduler.outlook import Outlook
from piko.scheduler.term import Term
from piko.scheduler.writes import Writes
from piko.spool.outcomes import OutcomeSpool
from piko.store.backfills import BackfillStore
from piko.store.configs import ConfigStore
from piko.store.instances import InstanceStore
from piko.store.progress import ProgressStore
from piko.store.runs import RunStore
from piko.store.states import StateStore

_AGAIN_S = 0.5
_OUTCOME = "the end of a run"
_NO_LIMIT = 2**31

T = TypeVar("T")

log = get_logger(__name__)


class Dispatcher:
    """Claims what is due, and starts it or offers it to the replicas, while this replica leads."""

    name = "dispatcher"

    def __init__(
        self,
        *,
        catalog: Catalog,
        configs: ConfigBook,
        config_rows: ConfigStore,
        elector: Elector,
        runs: RunStore,
        backfills: BackfillStore,
        states: StateStore,
        kept: ProgressStore,
        instances: InstanceStore,
        instance: Instance,
        clock: Clock,
        metrics: Metrics,
        spool: OutcomeSpool,
        offers: bool,
        max_concurrent_runs: int,
        heartbeat_interval_s: float,
        lease_s: float,
        poll_interval_s: float,
    ) -> None:
        self._catalog = catalog
        self._configs = configs
        self._config_rows = config_rows
        self._elector = elector
        self._runs = runs
        self._states = states
        self._held = HeldJobs(writer="claims", clock=clock, metrics=metrics)
        self._instance = instance
        self._clock = clock
        self._metrics = metrics
        self._max_concurrent_runs = max_concurrent_runs
        self._poll_interval_s = poll_interval_s
        self._term: Term | None = None
        self._writes: Writes
        """Of the term."""
        self._claiming = asyncio.Lock()
        self._new_id = Ids(clock).new
        self._offers = offers
        here = Here(instance_id=instance.instance_id)
        self._placement: Placement = (
            Anywhere(
                rows=catalog.assessed_rows,
                revision=configs.revision_in_force,
                here=here,
                idle=lambda: not len(self.executor) and not self.ledger.full,
            )
            if self._offers
            else here
        )
        self.claiming: set[str] = set()
        """Runs whose claim is under way, which start here when it is through."""
        self._backfiller = Backfiller(
            catalog=catalog,
            requests=backfills,
            placement=self._placement,
            begin=self._begin_queued,
            new_id=self._new_id,
            clock=clock,
        )
        self._adoption = Adoption(states=states, kept=kept, clock=clock)
        self.offered = asyncio.Event()
        """Set when there may be something for this replica to take."""
        self.executor = Executor(
            app_name=instance.app, configs=configs, clock=clock, metrics=metrics, ended=self._ended
        )
        self.ledger = Ledger(
            runs=runs,
            spool=spool,
            metrics=metrics,
            recorded=self._recorded,
            refused=self._refused,
            settled=self._settled,
            held=HeldJobs(writer="outcomes", clock=clock, metrics=metrics),
        )
        self._outlook = Outlook(
            runs=runs,
            backfiller=self._backfiller,
            lost=Orphans(
                runs=runs,
                instances=instances,
                instance_id=instance.instance_id,
                contact=catalog.contact,
                clock=clock,
                heartbeat_interval_s=heartbeat_interval_s,
                lease_s=lease_s,
                taken_in=offers,
            ),
            insist=self._insist,
            cancel=self._cancel,
            end=self._conclude_waiting,
            running_here=lambda: self.executor.run_ids,
            here=lambda: self.executor.run_ids | self.ledger.run_ids,
            clock=clock,
            heartbeat_interval_s=heartbeat_interval_s,
            poll_interval_s=poll_interval_s,
            offers=self._offers,
        )

    async def run(self) -> None:
        """Lead whenever leadership comes, until cancelled."""
        while True:
            self._end_term_that_is_over()
            fence = self._elector.acting
            if fence is None:
                await self._elector.news()
                continue
            try:
                await self._lead(fence)
            except FencedError as error:
                log.error("fenced", epoch=fence.epoch, error=str(error))
                self._elector.deposed(fence)

    async def stop_claiming(self) -> None:
        """Return when the claim in progress is through and its runs are started; there will be no other."""
        await self._claiming.acquire()

    async def _lead(self, fence: Fence) -> None:
        if self._term is None or self._term.fence != fence:
            self._term = await self._begin_term(fence)
        term = self._term
        while self._elector.acting == fence:
            if self._catalog.changed:
                await self._adoption.adopt(self._writes, self._catalog.take_changed())
            await self._writes.configs()
            if await self._outlook.look(term):
                self._writes.try_again(self._catalog)
            if self.ledger.full:  # how more runs end could not be kept
                await self._wake(_AGAIN_S)
                continue
            async with self._claiming:
                for run, why in overdue(
                    term.progress.waiting.values(), self._catalog.assessed_rows, self._clock.now()
                ):
                    self._metrics.job_missed.labels(run.job_id, "misfire").inc()
                    self._conclude_waiting(term, run, RunState.MISSED, why)
                await self._claim_due(term)
                await self._start_waiting(term)
                self._start(term, await self._backfiller.advance(term))
            self._metrics.runs_queued.set(len(term.progress.waiting))
            await self._sleep(term)

    async def _begin_term(self, fence: Fence) -> Term:
        while not self._catalog.loaded:
            await self._wake(0.05)
        self._metrics.forget_jobs()  # what this replica has seen of them as a standby is not all
        states = await self._insist(fence, self._states.read_all)
        configured = self._configs.job_ids()
        self._configs.load(
            configured, await self._insist(fence, lambda: self._config_rows.revisions(configured))
        )
        term = Term(
            catalog=self._catalog,
            configs=self._configs,
            states=states,
            fence=fence,
            placement=self._placement,
            metrics=self._metrics,
            new_id=self._new_id,
            # Where any replica may run it, each keeps to the limit by itself.
            max_concurrent_runs=_NO_LIMIT if self._offers else self._max_concurrent_runs,
        )
        self._outlook.begin()
        log.info("term_begins", epoch=fence.epoch, jobs=len(self._catalog.assessed_rows))
        self._catalog.take_changed()
        in_progress = await self._insist(fence, self._runs.running)
        if self._offers:
            in_progress = [*in_progress, *await self._insist(fence, self._runs.offered)]
        running, backfilling = split(in_progress)
        queued, backfills = split(await self._insist(fence, self._outlook.queued))
        term.held_elsewhere(running)  # this replica's own too: it may have taken them under another leader
        term.progress.enqueue(queued)
        self._writes = Writes(
            term=term,
            insist=self._insist,
            runs=self._runs,
            states=self._states,
            configs=self._configs,
            config_rows=self._config_rows,
            clock=self._clock,
            metrics=self._metrics,
            held=self._held,
            offers=self._offers,
        )
        await self._backfiller.begin(self._writes, running=backfilling, queued=backfills)
        await self._adoption.adopt(self._writes, {*self._catalog.assessed_rows, *states})
        gc.freeze()  # it stays for the whole term: nothing for the collector to go through at each turn
        return term

    def _end_term_that_is_over(self) -> None:
        """Where this replica has been deposed, what it still runs can no longer be recorded."""
        if self._term is None or self._term.fence == self._elector.fence:
            return
        for run_id in [*self._term.progress.running, *self._backfiller.progress.running]:
            self.executor.cancel(run_id, reason="another replica leads now")
        self._metrics.forget_jobs()
        self._term = None

    async def _claim_due(self, term: Term) -> None:
        now = self._clock.now()
        plan = term.due(now)
        if not plan.states:
            return
        await self._writes.configs()  # what is offered names its revision
        self.claiming = {run.run_id for run in plan.runs if run.state is RunState.RUNNING}
        try:
            await self._claim(term, plan, now)
        finally:
            self.claiming = set()
        self.offered.set()

    async def _claim(self, term: Term, plan: ClaimPlan, now: datetime) -> None:
        won = await self._writes.claim(plan, self._new_id(), now)
        for run in plan.replaced:
            self._cancel(term, run.run_id, "replaced by a newer due time (overlap_policy = replace)")
        for run in plan.superseded:
            self._conclude_waiting(
                term, run, RunState.SKIPPED, "superseded by a newer due time (overlap_policy = queue)"
            )
        self._start(term, term.claimed(plan, won, now))
        for item in plan.given_up:
            log.error("data_given_up", **item.facts)

    async def _start_waiting(self, term: Term) -> None:
        now = self._clock.now()
        chosen = term.startable(now, without=self._held.left_out() if self._held else ())
        if chosen:
            tried, won = await self._begin_queued(chosen, now)
            self._start(term, term.started(tried, won, now))

    async def _begin_queued(self, runs: Sequence[Run], now: datetime) -> tuple[Sequence[Run], set[str]]:
        tried, won = await self._writes.begin(runs, now)
        if self._offers:
            self.offered.set()
        return tried, won

    def _start(self, term: Term, runs: Sequence[Run]) -> None:
        for run in runs:
            job = self._catalog.assessed_rows.job(run.job_id)
            if job is not None:
                title = InstanceFence(instance_id=self._instance.instance_id, epoch=term.fence.epoch)
                self.executor.start(run, job, title)
                term.telling.started(run, self._clock.now())
            else:
                self._conclude(term, without_row(run, self._clock.now()))

    def _cancel(self, term: Term, run_id: str, reason: str) -> None:
        """End a run, wherever it is."""
        if run_id in self.executor:
            self.executor.cancel(run_id, reason=reason)
            return
        run = term.progress.running.get(run_id) or self._backfiller.progress.running.get(run_id)
        if run is not None:  # the replica that runs it sees that its row has ended
            self._conclude_waiting(term, run, RunState.CANCELLED, reason)

    def _conclude_waiting(self, term: Term, run: Run, state: RunState, why: str) -> None:
        """Record the end of a run that no handler here will end."""
        now = self._clock.now()
        job = self._catalog.assessed_rows.job(run.job_id)
        retry = None if job is None else next_attempt(run, job, state=state, now=now, new_id=self._new_id)
        tell = log.error if state in FAILED_STATES else log.warning
        tell("run_ended_without_handler", job_id=run.job_id, run_id=run.run_id, state=state.value, why=why)
        outcome = Outcome(
            run=run, state=state, started_at=None, finished_at=now, duration_s=None, error=why, retry=retry
        )
        self._conclude(term, outcome)

    def _conclude(self, term: Term, outcome: Outcome) -> None:
        """The leader's word on how a run ended."""
        self._account_end(term, outcome.run)
        self.ledger.put(outcome, term.fence)

    def _account_end(self, term: Term, run: Run) -> None:
        if run.backfill_id is None:
            term.ended(run.run_id)
        else:
            self._backfiller.progress.end(run.run_id)

    # ---- ends of runs -----------------------------------------------------------------------------

    def _ended(self, ending: Ending) -> None:
        outcome = conclude(ending, new_id=self._new_id)
        if self._term is not None:
            self._account_end(self._term, ending.run)
        self.ledger.put(outcome, ending.fence)
        self.offered.set()  # there is slots for one more

    def _recorded(self, outcomes: list[Outcome]) -> None:
        if self._term is not None:
            self._backfiller.account.recorded(item for item in outcomes if item.run.backfill_id is not None)
            live = [item for item in outcomes if item.run.backfill_id is None]
            self._term.recorded(live, self._clock.now())
        self._catalog.news.set()

    def _settled(self, taken: set[str], refused: dict[str, str]) -> None:
        """The database takes outcomes of jobs again that it had refused, or refuses some."""
        if self._term is not None:
            self._writes.accepted(_OUTCOME, taken)
            self._writes.refused(_OUTCOME, refused)
            return
        for job_id, why in refused.items():
            log.error("database_refuses", job_id=job_id, what=_OUTCOME, why=why)

    def _refused(self, _outcomes: list[Outcome], fence: OutcomeFence) -> None:
        ours = self._elector.fence
        if ours is not None and ours.epoch <= fence.epoch:
            self._elector.deposed(ours)

    # ---- waiting ----------------------------------------------------------------------------------

    async def _insist(self, fence: Fence, call: Callable[[], Awaitable[T]]) -> T:
        """Make `call` until the database answers. Raises `FencedError` when the leadership ends first."""
        while True:
            try:
                return await call()
            except DatabaseUnavailableError as error:
                self._metrics.db_errors.labels(self.name).inc()
                log.warning("database_away", error=str(error))
            await asyncio.sleep(_AGAIN_S)
            while self._elector.fence == fence and self._elector.acting is None:
                await self._wake(_AGAIN_S)
            if self._elector.fence != fence:
                raise FencedError(f"leadership under epoch {fence.epoch} ended while the database was away")

    async def _sleep(self, term: Term) -> None:
        now = self._clock.now()
        elsewhere = term.held_elsewhere_ids() or self._backfiller.account.elsewhere
        at_most_s = self._poll_interval_s
        every_s = min(at_most_s, self._outlook.elsewhere_every_s(term)) if elsewhere else at_most_s
        latest = now + timedelta(seconds=every_s)
        moments: list[datetime] = [latest]
        moments.extend(
            moment
            for moment in (
                term.timetable.earliest(),
                term.progress.next_start(now),
                self._backfiller.progress.next_start(now),
            )
            if moment is not None
        )
        delay = (min(moments) - now).total_seconds()
        if delay > 0:
            await self._wake(delay)
        else:
            await asyncio.sleep(0)

    async def _wake(self, seconds: float) -> None:
        """Sleep, but wake for news of rows or runs."""
        await happens(self._catalog.news.wait(), within_s=seconds)
        self._catalog.news.clear()
