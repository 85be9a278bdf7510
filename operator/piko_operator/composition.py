"""Where the operator's parts meet: from settings to `OperatorParts`, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from piko.background.supervisor import Part
from piko.clock import Clock
from piko.store.clusters import Clusters
from piko.store.engine import Database
from piko.store.managed import ManagedTable, managed_configs, managed_schedules
from piko.store.orphaned_rows import OrphanStore
from piko.store.reports.objectives import Objectives
from piko.store.reports.summaries import Summaries
from piko.store.row_changes import config_changes, schedule_changes, state_changes
from piko_operator.backfill_requests import BackfillRequests
from piko_operator.changes import Changes
from piko_operator.cluster import Cluster
from piko_operator.election import lease_of
from piko_operator.events import Events
from piko_operator.finalizers import Finalizers
from piko_operator.heartbeat import OperatorHeartbeat
from piko_operator.identity import Identity
from piko_operator.inventory import BACKFILL, JOB_CONFIG, SCHEDULE, Inventory, Seen
from piko_operator.mapping import owner_of
from piko_operator.metadata import MetadataFeed
from piko_operator.metrics import OperatorMetrics
from piko_operator.mirror import Mirror
from piko_operator.orphans import OrphanCleaner
from piko_operator.pacing import Pacing
from piko_operator.planning import Planner
from piko_operator.records import SyncRecords
from piko_operator.settings import OperatorSettings
from piko_operator.source_reader import SourceReader
from piko_operator.source_watch import SourceWatch
from piko_operator.sources import SourceUsers
from piko_operator.status import StatusWriter
from piko_operator.sweep import Sweep
from piko_operator.tally import ConditionTally
from piko_operator.triggers import Triggers
from piko_operator.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorParts:
    """The parts of one operator, built and not started."""

    backfills: BackfillRequests
    changes: Changes
    events: Events
    finalizers: Finalizers
    heartbeat: OperatorHeartbeat
    identity: Identity
    mirror: Mirror
    source_watch: SourceWatch
    status: StatusWriter
    sweep: Sweep
    triggers: Triggers
    watch: Watch

    @property
    def writers(self) -> tuple[Part, ...]:
        """The background parts except for the watch, in the order in which they start."""
        return (
            self.events,
            self.finalizers,
            self.mirror,
            self.changes,
            self.triggers,
            self.backfills,
            self.status,
            self.sweep,
            self.source_watch,
            self.heartbeat,
        )

    @property
    def reasons(self) -> list[str]:
        """Why they cannot work now; empty if they can. May be read from any thread."""
        reasons = []
        if self.sweep.cluster_error is not None:
            reasons.append(self.sweep.cluster_error)
        elif not self.sweep.listed.is_set():
            reasons.append("the resources have not been listed yet")
        troubles = (self.identity.trouble, self.mirror.database_error or self.changes.database_error)
        return reasons + [trouble for trouble in troubles if trouble is not None]


def compose(
    settings: OperatorSettings,
    *,
    cluster: Cluster,
    feed: MetadataFeed,
    database: Database,
    clock: Clock,
    metrics: OperatorMetrics,
) -> OperatorParts:
    """Build the parts; nothing is started or opened."""
    inventory, asking = Inventory(), Inventory(kinds=[BACKFILL])
    inventories = {SCHEDULE: inventory, JOB_CONFIG: inventory, BACKFILL: asking}
    schedules, configs = schedule_changes(database), config_changes(database)
    tables: dict[str, ManagedTable[Any]] = {
        SCHEDULE: managed_schedules(database, deleted=schedules.deleted),
        JOB_CONFIG: managed_configs(database, deleted=configs.deleted),
    }

    def owner(seen: Seen) -> str:
        return owner_of(cluster=settings.cluster, namespace=seen.namespace, name=seen.name, uid=seen.uid)

    events = Events(cluster=cluster, clock=clock)
    records = SyncRecords(clock=clock, inventory=inventory)
    clusters = Clusters(database=database)
    identity = Identity(cluster=cluster, clusters=clusters, name=settings.cluster)
    tally = ConditionTally(metrics=metrics)
    served_by = lease_of(settings.lease_name, settings.lease_namespace)
    status = StatusWriter(
        cluster=cluster,
        clock=clock,
        events=events,
        inventory=inventory,
        objectives=Objectives(database=database),
        owner=owner,
        pacing=Pacing(writes_per_s=settings.status_writes_per_s),
        records=records,
        summaries=Summaries(database=database),
        tally=tally,
        interval_s=settings.status_interval_s,
        served_by=served_by,
    )
    finalizers = Finalizers(
        clock=clock, cluster=cluster, inventory=inventory, records=records, news=status.look
    )
    triggers = Triggers(
        database=database,
        clock=clock,
        events=events,
        inventory=inventory,
        look=status.look,
        owner=owner,
        records=records,
    )

    def compared(*uids: str) -> None:
        triggers.look(*uids)
        status.look(*uids)

    users = SourceUsers()
    planner = Planner(
        inventory=inventory,
        owner=owner,
        reader=SourceReader(cluster=cluster),
        records=records,
        tenants=settings.tenants,
        users=users,
    )
    mirror = Mirror(
        clock=clock,
        inventory=inventory,
        metrics=metrics,
        tables=tables,
        planner=planner,
        events=events,
        identity=identity,
        finalizers=finalizers,
        look=compared,
        records=records,
    )
    source_watch = SourceWatch(
        feed=feed, users=users, changed=planner.source_changed, namespaces=settings.namespaces
    )
    changes = Changes(
        inventory=inventory,
        schedules=schedules,
        configs=configs,
        states=state_changes(database),
        look=status.look,
        interval_s=settings.status_interval_s,
    )
    orphans = OrphanCleaner(
        clock=clock,
        cluster=cluster,
        inventory=inventory,
        metrics=metrics,
        tables=tables,
        store=OrphanStore(database=database),
        cluster_name=settings.cluster,
        namespaces=settings.namespaces,
        limit=settings.orphan_limit,
        grace_s=settings.orphan_grace_s,
    )
    backfills = BackfillRequests(
        cluster=cluster,
        clock=clock,
        database=database,
        events=events,
        identity=identity,
        inventory=asking,
        owner=owner,
        tally=tally,
        tenants=settings.tenants,
        timezone=settings.timezone,
        interval_s=settings.status_interval_s,
        served_by=served_by,
    )
    sweep = Sweep(
        cluster=cluster,
        identity=identity,
        inventories=inventories,
        metrics=metrics,
        orphans=orphans,
        interval_s=settings.sweep_interval_s,
    )
    watch = Watch(
        clock=clock,
        inventories=inventories,
        listed=sweep.listed,
        metrics=metrics,
        namespaces=settings.namespaces,
        class_name=settings.class_name,
    )
    heartbeat = OperatorHeartbeat(
        cluster=settings.cluster,
        clusters=clusters,
        identity=identity,
        inventory=inventory,
        records=records,
        refused=lambda: sweep.refused,
        clock=clock,
    )
    return OperatorParts(
        backfills=backfills,
        changes=changes,
        events=events,
        finalizers=finalizers,
        heartbeat=heartbeat,
        identity=identity,
        mirror=mirror,
        source_watch=source_watch,
        status=status,
        sweep=sweep,
        triggers=triggers,
        watch=watch,
    )
