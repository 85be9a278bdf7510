"""Due work to claimed runs: the loop that feeds a `Leader` with what happens, while this replica leads.

The loop sleeps until the next moment, and then takes a turn: everything that is due by then is claimed in one
transaction, and what was won is started. It is woken by edits of rows, ends of runs and the end of its
leadership. What is decided, `piko.decisions.leader` says; here it is carried out. Each write is made
under the fence; where it is refused, the term is over.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.catalog.jobs import Job
from piko.clock import Clock
from piko.decisions.events import Recorded, RowsAccepted, RowsRefused, RunEnded, Tick
from piko.decisions.placement import Anywhere, Here, Placement
from piko.decisions.skips import Skip
from piko.errors import FencedError
from piko.execution.executor import Enqueue, Executor
from piko.execution.held_jobs import HeldJobs
from piko.execution.ledger import Ledger
from piko.execution.outcome import Ending, conclude
from piko.execution.replica_slots import ReplicaSlots
from piko.execution.run_logs import RunLogs
from piko.identity import Ids
from piko.leadership.elector import Elector
from piko.leadership.failure_detector import FailureDetector
from piko.model.fences import Fence, InstanceFence, OutcomeFence
from piko.model.instances import Instance
from piko.model.runs import Outcome, Run
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.scheduler.orphans import Orphans
from piko.scheduler.parts import SchedulerLimits, SchedulerParts, SchedulerStores
from piko.scheduler.punctuality import Punctuality
from piko.scheduler.term import LeadershipTerm, begin_term, take_in
from piko.spool.outcomes import OutcomeSpool
from piko.tracing.traces import Traces

_FULL_S = 0.5
"""How soon it is looked again whether one more end of a run could be kept."""
_OUTCOME = "the end of a run"

log = get_logger(__name__)


class Scheduler:
    """Claims what is due, and starts it or offers it to the replicas, while this replica leads."""

    name = "scheduler"

    def __init__(
        self,
        *,
        catalog: Catalog,
        configs: ConfigBook,
        stores: SchedulerStores,
        elector: Elector,
        instance: Instance,
        detector: FailureDetector,
        spool: OutcomeSpool,
        limits: SchedulerLimits,
        logs: RunLogs,
        enqueue: Enqueue,
        traces: Traces,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._catalog = catalog
        self._elector = elector
        self._clock = clock
        self._metrics = metrics
        self._new_id = Ids(clock).new
        self._turn = asyncio.Lock()
        self._claiming: set[str] = set()
        self._held = HeldJobs(writer="claims", clock=clock, metrics=metrics)
        self._term: LeadershipTerm | None = None
        self.executor = Executor(
            app_name=instance.app,
            configs=configs,
            clock=clock,
            metrics=metrics,
            ended=self._ended,
            logs=logs,
            enqueue=enqueue,
            traces=traces,
        )
        self.punctuality = Punctuality(
            stores=stores,
            limits=limits,
            elector=elector,
            executor=self.executor,
            instance=instance,
            give_up=self._over,
            begins=self._begins,
            clock=clock,
            metrics=metrics,
        )
        self.ledger = Ledger(
            runs=stores.runs,
            spool=spool,
            metrics=metrics,
            recorded=self._recorded,
            refused=self._refused,
            settled=self._settled,
            held=HeldJobs(writer="outcomes", clock=clock, metrics=metrics),
            traces=traces,
        )
        self.slots = ReplicaSlots(
            most=limits.max_concurrent_runs,
            running=lambda: len(self.executor),
            full=lambda: self.ledger.full,
            claiming=self._claiming,
        )
        self._parts = SchedulerParts(
            name=self.name,
            instance_id=instance.instance_id,
            stores=stores,
            limits=limits,
            catalog=catalog,
            configs=configs,
            elector=elector,
            executor=self.executor,
            upcoming=self.punctuality.upcoming,
            ledger=self.ledger,
            orphans=_orphans(stores, limits, catalog, instance=instance, detector=detector, clock=clock),
            held=self._held,
            placement=_placement(limits, catalog, configs, instance, self.slots),
            new_id=self._new_id,
            offered=self.slots.wanted,
            claiming=self._claiming,
            traces=traces,
            clock=clock,
            metrics=metrics,
        )

    @property
    def claiming(self) -> set[str]:
        """Runs whose claim is under way, which start here when it is through."""
        return set(self._claiming)

    async def run(self) -> None:
        """Lead whenever leadership comes, until cancelled."""
        while True:
            self._end_term_that_is_over()
            fence = self._elector.acting
            if fence is None:
                self.slots.behind = False
                await self._elector.news()
                continue
            try:
                await self._lead(fence)
            except FencedError as error:
                log.error("fenced", epoch=fence.epoch, error=str(error))
                self._elector.deposed(fence)

    async def stop_claiming(self) -> None:
        """Return when the last turn is over: what has not begun by then waits for the next leader."""
        await self._turn.acquire()
        await self.punctuality.leave_unbegun()

    async def _lead(self, fence: Fence) -> None:
        if self._term is None or self._term.fence != fence:
            self._term = await begin_term(fence, self._parts, answered_in=self.punctuality.answered_in)
        term = self._term
        while self._elector.acting == fence:
            if self._catalog.changed:
                await take_in(term.driver, self._catalog.take_changed(), self._parts)
            await term.driver.rows.record_revisions()
            began = self._clock.monotonic()
            await term.lookout.look()
            if self.ledger.full:  # how more runs end could not be kept
                await self._catalog.wait(within_s=_FULL_S)
                continue
            await self._take_turn(term)
            self.punctuality.took(self._clock.monotonic() - began)
            self._metrics.runs_queued.set(len(term.leader.runs.live.waiting))
            await self._rest(term)

    async def _take_turn(self, term: LeadershipTerm) -> None:
        async with self._turn:
            for stage in term.leader.stages:
                left_out = self._held.left_out() if self._held else ()
                now, ahead = self._clock.now(), self.punctuality.ahead
                late = () if stage else self.punctuality.upcoming.late(now)  # asked once a turn
                tick = Tick(stage=stage, now=now, left_out=left_out, ahead=ahead, late=late)
                await term.driver.feed(tick)

    async def _rest(self, term: LeadershipTerm) -> None:
        """Sleep until there is something to do, or news of rows or runs."""
        now, delay_s = self._clock.now(), term.lookout.rests_s()
        if (moment := term.leader.next_moment(now, ahead=self.punctuality.ahead)) is not None:
            delay_s = min(delay_s, (moment - now).total_seconds())
        self.slots.behind = delay_s <= 0
        if delay_s > 0:
            await self._catalog.wait(within_s=delay_s)
        else:
            await asyncio.sleep(0)

    def _end_term_that_is_over(self) -> None:
        """Where this replica has been deposed, what it still runs can no longer be recorded."""
        if self._term is None or self._term.fence == self._elector.fence:
            return
        for run_id in self._term.leader.runs.running_ids:
            self.executor.cancel(run_id, reason="another replica leads now")
        self.punctuality.upcoming.drop()
        self._metrics.forget_jobs()
        self._term = None

    # ---- ends of runs -------------------------------------------------------------------------------

    def _ended(self, ending: Ending) -> None:
        self._over(conclude(ending, new_id=self._new_id), ending.fence)
        self.slots.ended()

    def _over(self, outcome: Outcome, fence: InstanceFence) -> None:
        if self._term is not None:
            self._term.driver.acts.feed(RunEnded(run=outcome.run))
        self.ledger.put(outcome, fence)

    def _begins(self, run: Run, job: Job, now: datetime) -> Skip | None:
        return None if self._term is None else self._term.leader.begins(run, job, now)

    def _recorded(self, outcomes: list[Outcome]) -> None:
        if self._term is not None:
            self._term.driver.acts.feed(Recorded(outcomes=outcomes, now=self._clock.now()))
        self._catalog.news.set()

    def _settled(self, taken: set[str], refused: dict[str, str]) -> None:
        """The database takes outcomes of jobs again that it had refused, or refuses some."""
        if self._term is not None:
            now, acts = self._clock.now(), self._term.driver.acts
            acts.feed(RowsAccepted(what=_OUTCOME, job_ids=taken, now=now))
            acts.feed(RowsRefused(what=_OUTCOME, why=refused, now=now))
            return
        for job_id, why in refused.items():
            log.error("database_refuses", job_id=job_id, what=_OUTCOME, why=why)

    def _refused(self, _outcomes: list[Outcome], fence: OutcomeFence) -> None:
        ours = self._elector.fence
        if ours is not None and ours.epoch <= fence.epoch:
            self._elector.deposed(ours)


def _placement(
    limits: SchedulerLimits, catalog: Catalog, configs: ConfigBook, instance: Instance, slots: ReplicaSlots
) -> Placement:
    here = Here(instance_id=instance.instance_id)
    if not limits.offers:
        return here
    return Anywhere(
        rows=catalog.assessed_rows,
        revision=configs.revision_in_force,
        here=here,
        idle=lambda: slots.idle,
        keeps=slots.keeps,
    )


def _orphans(
    stores: SchedulerStores,
    limits: SchedulerLimits,
    catalog: Catalog,
    *,
    instance: Instance,
    detector: FailureDetector,
    clock: Clock,
) -> Orphans:
    return Orphans(
        runs=stores.runs,
        instances=stores.instances,
        instance_id=instance.instance_id,
        contact=catalog.contact,
        clock=clock,
        heartbeat_interval_s=limits.heartbeat_interval_s,
        lease_s=limits.lease_s,
        fetches=limits.offers,
        detector=detector,
    )
