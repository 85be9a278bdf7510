"""What the scheduler is made of, for one term of leadership after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.clock import Clock
from piko.decisions.placement import Placement
from piko.execution.executor import Executor
from piko.execution.held_jobs import HeldJobs
from piko.execution.ledger import Ledger
from piko.execution.upcoming import UpcomingRuns
from piko.leadership.elector import Elector
from piko.observability.metrics import Metrics
from piko.scheduler.orphans import Orphans
from piko.store.backfills import BackfillStore
from piko.store.configs import ConfigStore
from piko.store.instances import InstanceStore
from piko.store.progress import ProgressStore
from piko.store.runs import RunStore
from piko.store.states import StateStore
from piko.tracing.traces import Traces


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerStores:
    """The tables that a leader reads and writes."""

    runs: RunStore
    states: StateStore
    progress: ProgressStore
    configs: ConfigStore
    backfills: BackfillStore
    instances: InstanceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """`offers`: runs that may start are offered to every replica, not started by the leader itself."""

    offers: bool
    max_concurrent_runs: int
    """Live runs in progress on one replica."""
    poll_interval_s: float
    heartbeat_interval_s: float
    lease_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerParts:
    """What every term is given."""

    name: str
    """Of the part, in the metrics."""
    instance_id: str
    stores: SchedulerStores
    limits: SchedulerLimits
    catalog: Catalog
    configs: ConfigBook
    elector: Elector
    executor: Executor
    upcoming: UpcomingRuns
    ledger: Ledger
    orphans: Orphans
    held: HeldJobs
    placement: Placement
    new_id: Callable[[], str]
    offered: asyncio.Event
    claiming: set[str]
    traces: Traces
    clock: Clock
    metrics: Metrics
