"""One replica: its parts, built from settings, started and stopped in order.

A start never fails for the sake of its surroundings. Where the database is away or its tables are not there
yet, the replica waits, says so in its readiness, and begins when they are. A stop ends in order: no more
claims, then leadership is handed over, so that another replica goes on at once; then the handlers that run
get their time, and then what they left is written. They end under the epoch they began under: leadership
that was released, not taken away, leaves an instance the title to its own runs (`InstanceFence`).
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

from piko.background.closing import ClosingStack
from piko.background.supervisor import Part, Supervisor
from piko.background.waiting import end, first_of
from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.catalog.other_replicas import OtherReplicas
from piko.catalog.reconciler import Reconciler
from piko.clock import Clock, DatabaseClock
from piko.core.identity import Ids, host_name
from piko.core.registry import JobRegistry
from piko.errors import DatabaseUnavailableError, PikoError
from piko.execution.cancellation import CancellationWatcher
from piko.execution.fetcher import Fetcher
from piko.execution.outcome_replay import OutcomeReplay
from piko.leadership.contact import Contact
from piko.leadership.database_lease import DatabaseLease
from piko.leadership.elector import Elector
from piko.leadership.kubernetes_lease import KubernetesLease
from piko.leadership.lease import Lease
from piko.leadership.timekeeper import Timekeeper
from piko.model.instances import Instance
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.observability.watchdog import Watchdog
from piko.persistence.refusals import RefusedRecords
from piko.persistence.writer import PersistenceWriter
from piko.replica.definitions import published
from piko.replica.heartbeat import Heartbeat
from piko.scheduler.dispatcher import Dispatcher
from piko.scheduler.retention import Retention
from piko.settings import Settings
from piko.store.backfills import BackfillStore
from piko.store.configs import ConfigStore
from piko.store.definitions import DefinitionStore
from piko.store.engine import open_database
from piko.store.failures import any_refusal
from piko.store.instances import InstanceStore
from piko.store.leases import LeaseStore
from piko.store.progress import ProgressStore
from piko.store.retention import RetentionStore
from piko.store.run_notes import RunNotes
from piko.store.runs import RunStore
from piko.store.schedules import ScheduleStore
from piko.store.schema import migrate
from piko.store.states import StateStore
from piko.text import error_text, excerpt

_LOOK_AGAIN_S = 1.0
_SILENT_S = 5.0
_CLAIM_PATIENCE_S = 5.0
_FLUSH_S = 5.0
_WRITER_S = 5.0
_HAND_OVER_S = 5.0
_SETTLE_S = 0.3
_CLOSE_S = 60.0
"""For all of a kind together: each has a bound of its own."""
_TO_DISK_S = 20.0
_LOCK_WAIT = 1 / 10
"""Of the lease, how long a transaction waits for a row, at most three seconds: meanwhile others wait for what
it holds, the lease's row too. Where each statement is slow, a neighbour's transaction takes seconds."""
_REASON_LIMIT = 2_000
_GAP_S = 2.0
"""A database that has not answered for longer was away."""
_USUAL_THRESHOLDS = (700, 2000)
"""Young objects after which CPython collects: until 3.12, and from 3.13 on."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether a replica can do its part. `role` is `leader` or `standby`."""

    ready: bool
    role: str
    reasons: tuple[str, ...] = ()


class Runtime:
    """The parts of one replica.

    Raises `SettingsError` where the settings cannot work whatever the surroundings do.
    """

    def __init__(
        self,
        *,
        app_name: str,
        registry: JobRegistry,
        writer: PersistenceWriter,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.catalog = Catalog(contact=Contact(gap_s=max(_GAP_S, 1.5 * settings.poll_interval_s + 1)))
        self.instance = Instance(
            instance_id=Ids(clock).new(),
            app=app_name,
            host=host_name(),
            pid=os.getpid(),
            version=version("piko"),
        )
        self.database = open_database(
            settings.mysql_dsn.get_secret_value(),
            lease_s=settings.leader_lease_s,
            lock_wait_s=max(1, min(3, int(settings.leader_lease_s * _LOCK_WAIT))),
        )
        self.configs = ConfigBook(registry=registry)
        self._registry = registry
        self._clock = clock = DatabaseClock(clock)
        self._instances = InstanceStore(database=self.database)
        runs = RunStore(database=self.database)
        config_rows = ConfigStore(database=self.database)
        self.elector = Elector(
            lease=self._lease(),
            lease_name=settings.leader_name,
            instance=self.instance,
            clock=clock,
            metrics=metrics,
            timekeeper=Timekeeper(
                leases=LeaseStore(database=self.database),
                clock=clock,
                metrics=metrics,
                every_s=settings.leader_renew_interval_s,
            ),
            compete=settings.leader_enabled,
        )
        self.dispatcher = Dispatcher(
            catalog=self.catalog,
            configs=self.configs,
            config_rows=config_rows,
            elector=self.elector,
            runs=runs,
            backfills=BackfillStore(database=self.database),
            states=StateStore(database=self.database),
            kept=ProgressStore(database=self.database),
            instances=self._instances,
            instance=self.instance,
            clock=clock,
            metrics=metrics,
            settings=settings,
        )
        reconciler = Reconciler(
            schedules=ScheduleStore(database=self.database),
            config_rows=config_rows,
            registry=registry,
            catalog=self.catalog,
            configs=self.configs,
            clock=clock,
            metrics=metrics,
            elsewhere=OtherReplicas(
                definitions=DefinitionStore(database=self.database),
                instance=self.instance,
                clock=clock,
                heartbeat_interval_s=settings.heartbeat_interval_s,
            ),
            poll_interval_s=settings.poll_interval_s,
            timezone=settings.timezone,
        )
        heartbeat = Heartbeat(
            instances=self._instances,
            instance=self.instance,
            metrics=metrics,
            interval_s=settings.heartbeat_interval_s,
        )
        cancellation = CancellationWatcher(
            runs=runs,
            executor=self.dispatcher.executor,
            instance=self.instance,
            metrics=metrics,
            poll_interval_s=settings.poll_interval_s,
        )
        self._fetcher = Fetcher(
            runs=runs,
            config_rows=config_rows,
            catalog=self.catalog,
            executor=self.dispatcher.executor,
            ledger=self.dispatcher.ledger,
            instance=self.instance,
            clock=clock,
            metrics=metrics,
            offered=self.dispatcher.offered,
            claiming=lambda: self.dispatcher.claiming,
            instances=self._instances,
            heartbeat_interval_s=settings.heartbeat_interval_s,
            lease_name=settings.leader_name,
            max_concurrent_runs=settings.max_concurrent_runs,
        )
        self._replay = OutcomeReplay(runs=runs, metrics=metrics, folder=settings.spool_dir)
        retention = Retention(
            store=RetentionStore(database=self.database),
            kept=ProgressStore(database=self.database),
            configs=self.configs,
            elector=self.elector,
            clock=clock,
            metrics=metrics,
            max_age_s=settings.history_max_age_s,
        )
        self.writer = writer
        self._refusals = RefusedRecords(notes=RunNotes(database=self.database))
        # In the order in which they start; they stop the other way round.
        self._parts: Sequence[Part] = (
            heartbeat,
            self.elector,
            reconciler,
            self.dispatcher.ledger,
            self._refusals,
            writer,
            cancellation,
            self.dispatcher,
            *([self._fetcher] if settings.executor == "replicas" else []),
            retention,
        )
        self._supervisor = Supervisor(restarts=metrics.part_restarts)
        self.watchdog = Watchdog(clock=clock, metrics=metrics, blocked_after_s=settings.blocked_loop_s)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = self._closings()
        self._stop = asyncio.Event()
        self.ended = asyncio.Event()
        """Set when `run` is over, whatever the reason."""
        self._waits_for: str | None = "the database has not been looked at yet"

    def _closings(self) -> ClosingStack:
        """What is closed at the end, the last first: before all, what must not be lost goes to disk."""
        stack = ClosingStack()
        stack.push("database", self.database.close)
        stack.push("lease", self.elector.close)
        stack.push("resources of the app", self.dispatcher.executor.close, within_s=_CLOSE_S)
        stack.push("sinks", self.writer.close, within_s=_CLOSE_S)
        stack.push("ends of runs", self.dispatcher.ledger.close, within_s=_TO_DISK_S)
        stack.push("intents", self.writer.settle, within_s=_TO_DISK_S)
        return stack

    def _lease(self) -> Lease:
        settings, rows = self.settings, LeaseStore(database=self.database)
        if settings.leader_backend == "database":
            return DatabaseLease(
                rows=rows,
                name=settings.leader_name,
                instance=self.instance,
                lease_s=settings.leader_lease_s,
                renew_interval_s=settings.leader_renew_interval_s,
            )
        return KubernetesLease(
            rows=rows,
            name=settings.leader_name,
            instance=self.instance,
            clock=self._clock,
            lease_s=settings.leader_lease_s,
            renew_interval_s=settings.leader_renew_interval_s,
            namespace=settings.leader_namespace,
        )

    # ---- what others ask, from any thread ---------------------------------------------------------

    @property
    def readiness(self) -> Readiness:
        """Whether this replica can do its part now, and if not, why not."""
        role = "standby" if self.elector.acting is None else "leader"
        reasons = self._reasons()
        return Readiness(
            ready=not reasons,
            role=role,
            reasons=tuple(excerpt(reason, limit=_REASON_LIMIT) for reason in reasons),
        )

    @property
    def dead_parts(self) -> list[str]:
        """Parts that ended though they should run: nobody starts them again, only a new process helps."""
        if self._stop.is_set():
            return []
        if self.ended.is_set():
            return ["runtime"]
        return [name for name, task in list(self._tasks.items()) if task.done()]

    @property
    def hung_for_s(self) -> float:
        """How long nothing has moved here, where that is so long that only a new process helps; else 0."""
        blocked_s = self.watchdog.blocked_for_s
        return blocked_s if blocked_s >= self.settings.blocked_loop_fatal_s else 0.0

    def _reasons(self) -> list[str]:
        if self._stop.is_set():
            return ["stopping"]
        if self._waits_for is not None:
            return [self._waits_for]
        reasons = [f"{name} fails: {error}" for name, error in list(self._supervisor.failing.items())]
        if (refusal := self.database.health.refusal) is not None:
            reasons.append(refusal)
        blockage = self.watchdog.blockage
        if blockage is not None:
            blocked_s = self.watchdog.blocked_for_s
            reasons.append(f"the event loop has been blocked for {blocked_s:.0f} s by {blockage.by}")
        if self.dispatcher.ledger.failing is not None:
            what = "nothing starts any more" if self.dispatcher.ledger.full else "they are in memory only"
            reasons.append(f"ends of runs cannot be kept on disk, {what}: {self.dispatcher.ledger.failing}")
        if self.catalog.stale_since is not None:
            reasons.append(
                f"rows not read since {self.catalog.stale_since.isoformat()}: {self.catalog.stale_reason}"
            )
        elif (silent_s := self._silent_s()) > _SILENT_S + 3 * self.settings.poll_interval_s:
            reasons.append(f"the database has not answered for {silent_s:.0f} s")
        elif not self.catalog.loaded:
            reasons.append("the rows have not been read yet")
        if (trouble := self.elector.trouble) is not None:
            reasons.append(trouble)
        return reasons

    def _silent_s(self) -> float:
        """How long a statement has been waiting for its answer; one that hangs fails much later."""
        answered_at = self.catalog.contact.answered_at
        return 0.0 if answered_at is None else self._clock.monotonic() - answered_at

    @property
    def abandoned(self) -> int:
        """What goes on although it was cancelled: handlers, writes, closings. The process has to end it."""
        return self.dispatcher.executor.abandoned + self.writer.abandoned + self._closing.abandoned

    # ---- its life ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask for an orderly end; `run` returns when it is done."""
        self._stop.set()

    async def run(self) -> None:
        """Wait for the database, keep the parts running until `stop`, end in order."""
        log.info(
            "starting",
            app=self.instance.app,
            version=self.instance.version,
            instance_id=self.instance.instance_id,
            jobs=len(self._registry),
            database=self.database.where,
        )
        self.writer.prepare(
            folder=self.settings.spool_dir,
            fsync=self.settings.spool_fsync,
            owner=self.instance.instance_id,
            refused=self._refusals.add,
        )
        try:
            with _collecting_seldom(), self.watchdog:
                if await self._prepared():
                    await self._operate()
        finally:
            try:
                await self._closing.close()
            finally:
                self.ended.set()
                log.info("stopped")

    async def _prepared(self) -> bool:
        """Wait until the tables can be used; False where the stop came first."""
        preparing = asyncio.create_task(self._prepare(), name="prepare")
        try:
            await first_of(preparing, self._stop.wait())
            return not self._stop.is_set()
        finally:
            await end(preparing)

    async def _prepare(self) -> None:
        while (reason := await self._missing()) is not None:
            if reason != self._waits_for:
                log.warning("waiting_for_database", reason=reason)
            self._waits_for = reason
            await asyncio.sleep(_LOOK_AGAIN_S)
        self._waits_for = None

    async def _missing(self) -> str | None:
        """What the database still lacks; None when this replica can begin."""
        try:
            status = await migrate.check(self.settings.mysql_dsn.get_secret_value(), compare_tables=False)
            if not status.usable:
                return status.message
            if status.state is migrate.SchemaState.AHEAD:
                log.warning("tables_are_newer", message=status.message)
            with any_refusal(self.database.where):
                await self._replay.replay()
                await self._instances.beat(self.instance)
                definitions = await published(self._registry, instance=self.instance, clock=self._clock)
                recorded = await DefinitionStore(database=self.database).publish(definitions)
                for job_id, why in recorded.refused.items():
                    log.error("definition_not_published", job_id=job_id, why=why)
        except PikoError as error:  # away, refused, or lacking: whatever it is, it may be put right
            if isinstance(error, DatabaseUnavailableError):
                self.elector.was_blind()
                self.catalog.contact.failed()
            self.metrics.db_errors.labels("start").inc()
            return str(error)
        return None

    async def _operate(self) -> None:
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                self._tasks[part.name] = group.create_task(self._supervisor.keep(part), name=part.name)
            try:
                await self._stop.wait()
                await self._finish()
            finally:
                for part in reversed(self._parts):
                    await end(self._tasks[part.name])

    async def _finish(self) -> None:
        log.info("stopping", running=len(self.dispatcher.executor))
        await within(_CLAIM_PATIENCE_S, self.dispatcher.stop_claiming, otherwise="claim_cut_off")
        await end(self._tasks[self.dispatcher.name])
        if self._fetcher.name in self._tasks:
            await within(_CLAIM_PATIENCE_S, self._fetcher.stop_fetching, otherwise="fetching_cut_off")
            await end(self._tasks[self._fetcher.name])
        await end(self._tasks[self.elector.name])
        await within(_SETTLE_S, self.dispatcher.ledger.flushed, otherwise="outcomes_follow_later")
        await within(_HAND_OVER_S, self.elector.release, otherwise="not_handed_over")
        await self.dispatcher.executor.drain(self.settings.drain_timeout_s)
        await self.writer.drain(_WRITER_S)
        await end(self._tasks[self.writer.name])
        await within(_FLUSH_S, self.dispatcher.ledger.flushed, otherwise="outcomes_not_written")
        await within(_FLUSH_S, self._refusals.report, otherwise="refusals_not_reported")
        await within(_HAND_OVER_S, self._sign_off, otherwise="not_signed_off")

    async def _sign_off(self) -> None:
        await end(self._tasks["heartbeat"])
        if not len(self.dispatcher.ledger):  # else a leader would give up runs whose ends are on disk
            await self._instances.stop(self.instance)


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Keep Python's collector from going through what is no garbage, many times a second.

    Modules and registered jobs never become garbage. A run makes some dozen objects, nearly all of which end
    with it and without the collector: by its usual threshold it would take a fifth of a busy replica's time.
    """
    gc.freeze()
    usual = gc.get_threshold()
    if usual[0] in _USUAL_THRESHOLDS:  # else whoever starts this process has chosen
        gc.set_threshold(20_000, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


async def within(seconds: float, step: Callable[[], Awaitable[object]], *, otherwise: str) -> None:
    """Make a step of a stop; one that takes too long or fails must not hold up the next."""
    try:
        async with asyncio.timeout(seconds):
            await step()
    except Exception as error:  # noqa: BLE001 - the stop goes on, whatever it was
        why = "no answer in time" if isinstance(error, TimeoutError) else error_text(error)
        log.error(otherwise, waited_s=seconds, error=why)
