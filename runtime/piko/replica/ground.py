"""What most parts of a replica stand on: its settings, identity, clock and database, and what it knows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.clock import Clock, DatabaseClock
from piko.core.registry import JobRegistry
from piko.dsn import parse_dsn
from piko.identity import Ids, host_name
from piko.leadership.contact import Contact
from piko.leadership.failure_detector import FailureDetector
from piko.model.instances import Instance
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.observability.redaction import secrets_of
from piko.settings import Settings
from piko.store.configs import ConfigStore
from piko.store.engine import Database, open_database
from piko.store.instances import InstanceStore
from piko.store.runs import RunStore
from piko.tracing.traces import Traces, traces_in_use

_GAP_S = 2.0
"""A database that has not answered for longer was away."""
_LOCK_WAIT = 1 / 10
"""Of the lease, how long a transaction waits for a row, at most three seconds: meanwhile others wait for what
it holds, the lease's row too. Where each statement is slow, a neighbour's transaction takes seconds."""
_SHORTEST = 8


log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What most parts stand on."""

    settings: Settings
    clock: DatabaseClock
    metrics: Metrics
    traces: Traces
    registry: JobRegistry
    instance: Instance
    database: Database
    catalog: Catalog
    configs: ConfigBook
    config_rows: ConfigStore
    instances: InstanceStore
    runs: RunStore
    detector: FailureDetector


def lay_ground(
    *, app_name: str, registry: JobRegistry, settings: Settings, clock: Clock, metrics: Metrics
) -> Ground:
    dsn = settings.mysql_dsn.get_secret_value()
    database = open_database(
        dsn,
        config_keys=settings.config_keys,
        lease_s=settings.leader_lease_s,
        lock_wait_s=max(1, min(3, int(settings.leader_lease_s * _LOCK_WAIT))),
    )
    _show_connections(database, metrics)
    _say_whether_the_spool_stays(settings, metrics)
    metrics.jobs_running_limit.set(settings.max_concurrent_runs)
    instance = Instance(
        instance_id=Ids(clock).new(), app=app_name, host=host_name(), pid=os.getpid(), version=version("piko")
    )
    return Ground(
        settings=settings,
        clock=DatabaseClock(clock),
        metrics=metrics,
        traces=traces_in_use(),
        registry=registry,
        instance=instance,
        database=database,
        catalog=Catalog(contact=Contact(gap_s=max(_GAP_S, 1.5 * settings.poll_interval_s + 1))),
        configs=ConfigBook(registry=registry, secrets=_own_secrets(settings, dsn)),
        config_rows=ConfigStore(database=database),
        instances=InstanceStore(database=database),
        runs=RunStore(database=database),
        detector=FailureDetector(instance_id=instance.instance_id, grace_s=settings.crash_grace_s),
    )


def _show_connections(database: Database, metrics: Metrics) -> None:
    for pool, in_use in database.in_use.items():
        metrics.db_connections.labels(pool).set_function(in_use)
        if database.most_connections is not None:
            metrics.db_connections_limit.labels(pool).set(database.most_connections)


def _say_whether_the_spool_stays(settings: Settings, metrics: Metrics) -> None:
    metrics.spool_persistent.set(settings.spool_persistent)
    if not settings.spool_persistent:
        log.warning(
            "spool_not_persistent",
            folder=str(settings.spool_dir),
            lost="if this pod is deleted: write intents and outcomes that wait for a sink or the database",
            remedy="put spool_dir on a volume and set spool_persistent; "
            "in the chart: runtime.spool.persistence.enabled=true",
        )


def _own_secrets(settings: Settings, dsn: str) -> frozenset[str]:
    """What runs might say of this program's settings; a short password may be a word that any text has."""
    keys = [
        key.get_secret_value() for key in (settings.web_session_key, settings.config_key) if key is not None
    ]
    keys += [part.strip() for key in keys for part in key.split(",")]
    found = secrets_of(parse_dsn(dsn).password, *keys)
    return frozenset(text for text in found if len(text) >= _SHORTEST)
