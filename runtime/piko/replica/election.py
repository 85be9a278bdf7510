"""The parts with which a replica takes part in the election, from its settings."""

from __future__ import annotations

from piko.leadership.crash_watch import CrashWatch
from piko.leadership.database_lease import DatabaseLease
from piko.leadership.elector import Elector
from piko.leadership.kubernetes_lease import KubernetesLease
from piko.leadership.lease import Lease
from piko.leadership.timekeeper import Timekeeper
from piko.replica.ground import Ground
from piko.store.instances import HEARTBEATS
from piko.store.leases import LeaseStore
from piko.store.session_locks import SessionLockStore


def elector_of(ground: Ground) -> Elector:
    """The elector, for the lease that the settings choose."""
    settings = ground.settings
    return Elector(
        lease=_lease(ground),
        lease_name=settings.leader_name,
        instance=ground.instance,
        clock=ground.clock,
        metrics=ground.metrics,
        timekeeper=Timekeeper(
            leases=LeaseStore(database=ground.database),
            clock=ground.clock,
            metrics=ground.metrics,
            every_s=settings.leader_renew_interval_s,
        ),
        detector=ground.detector,
        compete=settings.leader_enabled,
    )


def crash_watch_of(ground: Ground, elector: Elector) -> CrashWatch | None:
    """The crash watch that wakes `elector`; None where the database keeps no session locks."""
    if ground.database.is_sqlite:
        return None
    settings = ground.settings
    heard_within_s = HEARTBEATS * settings.heartbeat_interval_s
    return CrashWatch(
        store=SessionLockStore(
            database=ground.database,
            dsn=settings.mysql_dsn.get_secret_value(),
            lease_name=settings.leader_name,
            idle_s=max(settings.leader_lease_s, heard_within_s),
            heard_within_s=heard_within_s,
        ),
        detector=ground.detector,
        instance=ground.instance,
        leads=lambda: elector.acting is not None,
        wake=(elector.look_sooner, ground.catalog.news.set),
        lost=elector.doubt,
        clock=ground.clock,
        metrics=ground.metrics,
    )


def _lease(ground: Ground) -> Lease:
    settings, rows = ground.settings, LeaseStore(database=ground.database)
    if settings.leader_backend == "database":
        return DatabaseLease(
            rows=rows,
            name=settings.leader_name,
            instance=ground.instance,
            lease_s=settings.leader_lease_s,
            renew_interval_s=settings.leader_renew_interval_s,
        )
    return KubernetesLease(
        rows=rows,
        name=settings.leader_name,
        instance=ground.instance,
        clock=ground.clock,
        lease_s=settings.leader_lease_s,
        renew_interval_s=settings.leader_renew_interval_s,
        namespace=settings.leader_namespace,
    )
