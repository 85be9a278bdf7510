"""What one replica is made of; `compose` builds it from settings."""

from __future__ import annotations

from dataclasses import dataclass

from piko.background.closing import ClosingStack
from piko.background.supervisor import Part
from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.clock import Clock
from piko.execution.executor import Executor
from piko.execution.fetcher import Fetcher
from piko.execution.ledger import Ledger
from piko.leadership.crash_watch import CrashWatch
from piko.leadership.elector import Elector
from piko.model.instances import Instance
from piko.observability.metrics import Metrics
from piko.observability.watchdog import Watchdog
from piko.persistence.refusals import RefusedRecords
from piko.persistence.writer import PersistenceWriter
from piko.replica.heartbeat import Heartbeat
from piko.replica.startup import Startup
from piko.replica.troubles import ReplicaTroubles
from piko.scheduler.scheduler import Scheduler
from piko.store.engine import Database
from piko.store.instances import InstanceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Durations in seconds that the life of a replica keeps to."""

    blocked_fatal_s: float
    """For how long the event loop may be blocked before only a new process helps."""
    drain_s: float
    """How long a stop waits for running handlers."""
    silent_s: float
    """For how long a statement may wait for its answer before the replica is not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one replica, built and not started."""

    catalog: Catalog
    clock: Clock
    closing: ClosingStack
    configs: ConfigBook
    crash_watch: CrashWatch | None
    """None where the database keeps no session locks."""
    database: Database
    elector: Elector
    executor: Executor
    fetcher: Fetcher | None
    """None where runs execute in the leader's process."""
    heartbeat: Heartbeat
    instance: Instance
    instances: InstanceStore
    ledger: Ledger
    limits: Limits
    metrics: Metrics
    refusals: RefusedRecords
    running: tuple[Part, ...]
    """Those that run in the background, in the order in which they start; they stop the other way round."""
    scheduler: Scheduler
    startup: Startup
    troubles: ReplicaTroubles
    watchdog: Watchdog
    writer: PersistenceWriter
