"""Where the parts of a replica meet, each given what it needs by name: from settings to `Parts`."""

from __future__ import annotations

from functools import partial

from piko.background.closing import ClosingStack
from piko.catalog.other_replicas import OtherReplicas
from piko.catalog.reconciler import Reconciler
from piko.clock import Clock
from piko.core.hooks import Hooks
from piko.core.registry import JobRegistry
from piko.execution.cancellation import CancellationWatcher
from piko.execution.fetcher import Fetcher
from piko.execution.outcome_replay import OutcomeReplay
from piko.execution.run_logs import RunLogs
from piko.leadership.elector import Elector
from piko.observability.metrics import Metrics
from piko.observability.watchdog import Watchdog
from piko.persistence.letter_requests import LetterRequests
from piko.persistence.refusals import RefusedRecords
from piko.persistence.writer import PersistenceWriter
from piko.replica.deadline_watch import DeadlineWatch
from piko.replica.election import crash_watch_of, elector_of
from piko.replica.ground import Ground, lay_ground
from piko.replica.heartbeat import Heartbeat
from piko.replica.parts import Limits, Parts
from piko.replica.startup import Startup
from piko.replica.troubles import ReplicaTroubles
from piko.replica.upkeep import (
    announcer_of,
    audit_of,
    data_deadlines_of,
    resumption_of,
    retention_of,
    webhook_of,
)
from piko.scheduler.parts import SchedulerLimits, SchedulerStores
from piko.scheduler.scheduler import Scheduler
from piko.settings import Settings
from piko.spool.outcomes import OutcomeSpool
from piko.store.backfills import BackfillStore
from piko.store.dead_letters import DeadLetterStore
from piko.store.definitions import DefinitionStore
from piko.store.progress import ProgressStore
from piko.store.reports.objectives import Objectives
from piko.store.run_logs import RunLogStore
from piko.store.run_notes import RunNotes
from piko.store.schedules import ScheduleStore
from piko.store.schema import migrate
from piko.store.states import StateStore

_SILENT_S = 5.0
_CLOSE_S = 60.0
"""For all of a kind together: each has a bound of its own."""
_TO_DISK_S = 20.0
_LAST_LINES_S = 5.0


def compose(
    *,
    app_name: str,
    registry: JobRegistry,
    hooks: Hooks,
    writer: PersistenceWriter,
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
) -> Parts:
    """Build the parts of a replica; nothing is started, and nothing waits.

    Each part that opens something registers how it is closed; the last is closed first, so what must not be
    lost is on disk before anything else is closed. Raises `SettingsError` where the settings cannot work
    whatever the environment does.
    """
    closing = ClosingStack()
    ground = lay_ground(app_name=app_name, registry=registry, settings=settings, clock=clock, metrics=metrics)
    closing.push("database", ground.database.close)
    elector = elector_of(ground)
    closing.push("lease", elector.close)
    run_logs = _run_logs(ground)
    closing.push("logs of runs", run_logs.write, within_s=_LAST_LINES_S)
    scheduler = _scheduler(ground, elector, run_logs, writer)
    closing.push("resources of the app", scheduler.executor.close, within_s=_CLOSE_S)
    closing.push("sinks", writer.close, within_s=_CLOSE_S)
    closing.push("ends of runs", scheduler.ledger.close, within_s=_TO_DISK_S)
    closing.push("intents", writer.settle, within_s=_TO_DISK_S)
    watchdog = Watchdog(clock=ground.clock, metrics=metrics, blocked_after_s=settings.blocked_loop_s)
    troubles = ReplicaTroubles(instance=ground.instance, writer=writer, watchdog=watchdog, clock=ground.clock)
    heartbeat = Heartbeat(
        instances=ground.instances,
        instance=ground.instance,
        troubles=troubles,
        metrics=metrics,
        interval_s=settings.heartbeat_interval_s,
    )
    crash_watch = crash_watch_of(ground, elector)
    fetcher = _fetcher(ground, scheduler) if settings.executor == "replicas" else None
    deadline_watch = _deadline_watch(ground)
    refusals = RefusedRecords(notes=RunNotes(database=ground.database))
    letters = _letter_requests(ground, writer)
    writer.prepare(
        folder=settings.spool_dir,
        fsync=settings.spool_fsync,
        owner=ground.instance.instance_id,
        refused=refusals.add,
        secrets_of=ground.configs.secrets_of_jobs,
        traces=ground.traces,
    )
    return Parts(
        catalog=ground.catalog,
        clock=ground.clock,
        closing=closing,
        configs=ground.configs,
        crash_watch=crash_watch,
        database=ground.database,
        elector=elector,
        executor=scheduler.executor,
        fetcher=fetcher,
        heartbeat=heartbeat,
        instance=ground.instance,
        instances=ground.instances,
        ledger=scheduler.ledger,
        limits=Limits(
            blocked_fatal_s=settings.blocked_loop_fatal_s,
            drain_s=settings.drain_timeout_s,
            silent_s=_SILENT_S + 3 * settings.poll_interval_s,
        ),
        metrics=metrics,
        refusals=refusals,
        running=(
            heartbeat,
            *(() if crash_watch is None else (crash_watch,)),
            elector,
            _reconciler(ground),
            deadline_watch,
            scheduler.ledger,
            run_logs,
            scheduler.punctuality.start_marks,
            refusals,
            letters,
            writer,
            _cancellation(ground, scheduler),
            scheduler,
            *(() if fetcher is None else (fetcher,)),
            resumption_of(ground, elector),
            audit_of(ground, elector),
            data_deadlines_of(ground, elector),
            announcer_of(ground, elector, hooks=hooks, watch=deadline_watch),
            *webhook_of(ground, elector, watch=deadline_watch),
            retention_of(ground, elector),
        ),
        scheduler=scheduler,
        startup=_startup(ground, elector),
        troubles=troubles,
        watchdog=watchdog,
        writer=writer,
    )


def _run_logs(ground: Ground) -> RunLogs:
    return RunLogs(
        store=RunLogStore(database=ground.database),
        clock=ground.clock,
        metrics=ground.metrics,
        capture=ground.settings.log_capture,
    )


def _letter_requests(ground: Ground, writer: PersistenceWriter) -> LetterRequests:
    return LetterRequests(
        letters=writer.dead_letters,
        store=DeadLetterStore(database=ground.database),
        instance_id=ground.instance.instance_id,
        clock=ground.clock,
        metrics=ground.metrics,
        poll_interval_s=ground.settings.poll_interval_s,
    )


def _scheduler(ground: Ground, elector: Elector, run_logs: RunLogs, writer: PersistenceWriter) -> Scheduler:
    settings, database = ground.settings, ground.database
    return Scheduler(
        catalog=ground.catalog,
        configs=ground.configs,
        stores=SchedulerStores(
            runs=ground.runs,
            states=StateStore(database=database),
            progress=ProgressStore(database=database),
            configs=ground.config_rows,
            backfills=BackfillStore(database=database),
            instances=ground.instances,
        ),
        elector=elector,
        instance=ground.instance,
        detector=ground.detector,
        spool=OutcomeSpool.of_instance(
            settings.spool_dir, ground.instance.instance_id, fsync=settings.spool_fsync
        ),
        limits=SchedulerLimits(
            offers=settings.executor == "replicas",
            max_concurrent_runs=settings.max_concurrent_runs,
            heartbeat_interval_s=settings.heartbeat_interval_s,
            lease_s=settings.leader_lease_s,
            poll_interval_s=settings.poll_interval_s,
        ),
        logs=run_logs,
        enqueue=writer.enqueue,
        traces=ground.traces,
        clock=ground.clock,
        metrics=ground.metrics,
    )


def _reconciler(ground: Ground) -> Reconciler:
    settings = ground.settings
    return Reconciler(
        schedules=ScheduleStore(database=ground.database),
        config_rows=ground.config_rows,
        registry=ground.registry,
        catalog=ground.catalog,
        configs=ground.configs,
        clock=ground.clock,
        metrics=ground.metrics,
        other_replicas=OtherReplicas(
            definitions=DefinitionStore(database=ground.database),
            instance=ground.instance,
            clock=ground.clock,
            heartbeat_interval_s=settings.heartbeat_interval_s,
        ),
        poll_interval_s=settings.poll_interval_s,
        timezone=settings.timezone,
    )


def _deadline_watch(ground: Ground) -> DeadlineWatch:
    settings = ground.settings
    return DeadlineWatch(
        objectives=Objectives(database=ground.database),
        clock=ground.clock,
        metrics=ground.metrics,
        poll_interval_s=settings.poll_interval_s,
        timezone=settings.timezone,
    )


def _cancellation(ground: Ground, scheduler: Scheduler) -> CancellationWatcher:
    return CancellationWatcher(
        runs=ground.runs,
        executor=scheduler.executor,
        upcoming=scheduler.punctuality.upcoming,
        instance=ground.instance,
        metrics=ground.metrics,
        poll_interval_s=ground.settings.poll_interval_s,
    )


def _fetcher(ground: Ground, scheduler: Scheduler) -> Fetcher:
    settings = ground.settings
    return Fetcher(
        runs=ground.runs,
        config_rows=ground.config_rows,
        catalog=ground.catalog,
        executor=scheduler.executor,
        ledger=scheduler.ledger,
        slots=scheduler.slots,
        instance=ground.instance,
        clock=ground.clock,
        metrics=ground.metrics,
        claiming=lambda: scheduler.claiming,
        instances=ground.instances,
        heartbeat_interval_s=settings.heartbeat_interval_s,
        lease_name=settings.leader_name,
    )


def _startup(ground: Ground, elector: Elector) -> Startup:
    dsn, folder = ground.settings.mysql_dsn.get_secret_value(), ground.settings.spool_dir
    return Startup(
        catalog=ground.catalog,
        check=partial(migrate.check, dsn, compare_tables=False),
        clock=ground.clock,
        definitions=DefinitionStore(database=ground.database),
        elector=elector,
        instance=ground.instance,
        instances=ground.instances,
        metrics=ground.metrics,
        replay=OutcomeReplay(runs=ground.runs, metrics=ground.metrics, folder=folder),
        registry=ground.registry,
        timezone=ground.settings.timezone,
        where=ground.database.where,
    )
