"""Mirrors resources into rows.

One round takes all marked resources, reads the rows of all their jobs, decides (`ownership`), and writes the
changes in one batch of statements per table. Failed resources are marked again after a growing pause.

An error of one resource does not affect the others: a batch that fails is split in halves until the cause is
alone, and any remaining exception becomes the record of its resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from piko.background.periodic import repeat
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.model.managed import Change, Held, R, RefusedChange, Verb, WriteResult
from piko.observability.logs import get_logger
from piko.store.managed import ManagedTable
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.events import Events
from piko_operator.identity import Identity, IdentityError
from piko_operator.inventory import Inventory, Seen
from piko_operator.mapping import owner_of
from piko_operator.metrics import OperatorMetrics
from piko_operator.ownership import Decision, decide, release
from piko_operator.planning import Plan, Planner
from piko_operator.records import SyncRecord, SyncRecords

_BUSY = 4
"""Conflicts in a row after which a resource gets the condition RowBusy."""
_BUSY_MESSAGE = (
    "changes between every read and write: an open transaction holds it, or another program keeps writing "
    "it; "
    "commit or roll back the transaction (SHOW PROCESSLIST). This is retried"
)

log = get_logger(__name__)


class Mirror:
    """Keeps the rows in step with the resources."""

    name = "mirror"

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        inventory: Inventory,
        metrics: OperatorMetrics,
        tables: Mapping[str, ManagedTable[Any]],
        cluster_name: str,
        events: Events,
        identity: Identity,
        news: asyncio.Event,
        records: SyncRecords,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._inventory = inventory
        self._metrics = metrics
        self._tables = tables
        self._cluster_name = cluster_name
        self._events = events
        self._identity = identity
        self._news = news
        self._records = records
        self._planner = Planner(cluster=cluster, inventory=inventory, owner=self.owner, records=records)
        self._settled: dict[str, int] = {}
        self._database_away = False

    def owner(self, seen: Seen) -> str:
        return owner_of(cluster=self._cluster_name, namespace=seen.namespace, name=seen.name, uid=seen.uid)

    async def run(self) -> None:
        """Reconcile marked resources until cancelled."""
        try:
            await repeat(self._round, pause_s=lambda: None, wake=self._inventory.marked)
        finally:
            await self._planner.close()

    async def _round(self) -> None:
        marked, done = self._inventory.take_marked(), False
        try:
            await self.reconcile(marked)
            done = True
        finally:
            if not done:  # keep the work for the restart of this part
                self._inventory.mark(*(seen.uid for seen in marked))
        self._news.set()

    async def reconcile(self, marked: Sequence[Seen]) -> None:
        """Run one round over `marked`."""
        started = self._clock.monotonic()
        for kind, table in self._tables.items():
            chosen = {seen.uid: seen for seen in marked if seen.kind == kind}
            for leaving in [seen for seen in chosen.values() if seen.deleting]:
                chosen |= {seen.uid: seen for seen in self._inventory.heirs(kind, leaving.job_id)}
            if chosen:
                await self._reconcile_kind(sorted(chosen.values(), key=_age), table)
        self._forget_deleted()
        self._metrics.latency.observe(self._clock.monotonic() - started)

    async def _reconcile_kind(self, chosen: Sequence[Seen], table: ManagedTable[R]) -> None:
        plans: Sequence[Plan[Any]] = ()
        try:
            await self._identity.confirm()
            plans = await self._planner.plans(chosen)
            await self._settle(plans, table)
        except IdentityError as error:
            self._put_off(chosen, error.reason, str(error))
        except DatabaseUnavailableError as error:
            if not self._database_away:
                log.warning("database_unavailable", error=str(error))
            self._database_away = True
            affected = [plan.seen for plan in plans] or chosen
            self._put_off(affected, "DatabaseUnavailable", f"{error}; this is retried until it succeeds")
        else:
            if self._database_away and plans:
                log.info("database_available_again")
                self._database_away = False

    def _put_off(self, affected: Sequence[Seen], reason: str, message: str) -> None:
        for seen in affected:
            self._records.fail(seen, reason, message)
            self._records.try_again(seen)

    async def _settle(self, plans: Sequence[Plan[R]], table: ManagedTable[R]) -> None:
        """Write `plans`; a failing batch is split in halves. Raises `DatabaseUnavailableError`."""
        try:
            held = await table.read([plan.seen.job_id for plan in plans])
            await self._write(plans, held, table)
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 any other error belongs to one resource
            if len(plans) == 1:
                self._records.fault(plans[0].seen, error)
                return
            middle = len(plans) // 2
            await self._settle(plans[:middle], table)
            await self._settle(plans[middle:], table)

    async def _write(
        self, plans: Sequence[Plan[R]], held: Mapping[str, Held[R]], table: ManagedTable[R]
    ) -> None:
        decisions: list[tuple[Plan[R], Decision[R] | None]] = []
        changes: dict[str, Change[R]] = {}
        vacated = _vacated(plans, held)
        for plan in plans:
            job_id = plan.seen.job_id
            decision = self._decide(plan, held.get(job_id), table.name, vacated.get(job_id))
            if decision is None and vacated.get(job_id) == plan.owner:
                decisions.append((plan, None))  # the write for the heir releases the row
                continue
            change = decision.change if decision is not None else _release(plan, held.get(job_id))
            if change is not None and job_id in changes:
                # The row is being written for another resource in this very round.
                self._records.try_again(plan.seen)
                continue
            if change is not None:
                changes[job_id] = change
            decisions.append((plan, decision))
        results = await table.apply(list(changes.values()))
        for job_id, result in results.items():
            if result is WriteResult.DONE:
                self._metrics.rows.labels(table=table.name, verb=changes[job_id].verb.value).inc()
        # If the database refuses the heir's row, the leaving resource's deletion policy applies.
        alone = [
            change
            for plan in plans
            if isinstance(results.get(plan.seen.job_id), RefusedChange)
            and vacated.get(plan.seen.job_id) == plan.owner
            and (change := _release(plan, held.get(plan.seen.job_id))) is not None
        ]
        released_alone = await table.apply(alone)
        released = []
        for plan, decision in decisions:
            mine = decision.change if decision is not None else _release(plan, held.get(plan.seen.job_id))
            result = results[plan.seen.job_id] if mine is not None else WriteResult.DONE
            if decision is None:
                result = released_alone.get(plan.seen.job_id, result)
            if self._conclude(plan, decision, result, table):
                released.append(plan.seen)
        await asyncio.gather(*map(self._let_go, released))

    def _decide(
        self, plan: Plan[R], held: Held[R] | None, table: str, vacated: str | None
    ) -> Decision[R] | None:
        if plan.wanted is None:
            return None
        return decide(
            wanted=plan.wanted,
            held=held,
            table=table,
            adoption_policy=plan.adoption_policy,
            drift_policy=plan.drift_policy,
            settled=self._is_settled(plan.seen),
            vacated=vacated or self._inventory.vacated(plan.seen.kind, plan.seen.job_id),
        )

    def _conclude(
        self,
        plan: Plan[R],
        decision: Decision[R] | None,
        result: WriteResult | RefusedChange,
        table: ManagedTable[R],
    ) -> bool:
        """Record the result for the resource; returns whether its finalizer may be removed."""
        seen = plan.seen
        if isinstance(result, RefusedChange):
            message = f"{table.name} does not accept the row of job {seen.job_id!r}: {result.why}"
            self._records.fail(seen, "RowRefused", message)
            self._records.try_again(seen)
        elif result is WriteResult.STALE:
            if self._records.failures(seen.uid) >= _BUSY:
                message = f"the row of job {seen.job_id!r} in {table.name} {_BUSY_MESSAGE}"
                self._records.fail(seen, "RowBusy", message)
            self._records.try_again(seen)
        elif decision is None:
            return True
        else:
            self._succeed(plan, decision, table)
        return False

    def _succeed(self, plan: Plan[R], decision: Decision[R], table: ManagedTable[R]) -> None:
        seen = plan.seen
        record = SyncRecord(
            generation=seen.generation,
            synced=decision.synced,
            drifted=decision.drifted,
            schedule=plan.schedule,
        )
        self._records.succeed(seen, record)
        if decision.drifted.status == "Unknown":
            self._settled.pop(seen.uid, None)
        else:
            self._settled[seen.uid] = seen.generation
        if decision.corrects_drift:
            self._metrics.drift.labels(table=table.name).inc()
        if decision.change is not None:
            log.info("row_written", table=table.name, job_id=seen.job_id, verb=decision.change.verb.value)
        if decision.notice is not None:
            self._events.post(seen, decision.notice)

    async def _let_go(self, seen: Seen) -> None:
        try:
            await self._cluster.let_go(seen)
        except ClusterError as error:
            self._records.refused(seen, error)
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            self._records.fault(seen, error)
        else:
            log.info("resource_released", kind=seen.kind, namespace=seen.namespace, name=seen.name)
            self._inventory.forget(seen.uid)

    def _is_settled(self, seen: Seen) -> bool:
        """Whether this generation was written before, by this process or by one before it."""
        if seen.uid in self._settled:
            return self._settled[seen.uid] == seen.generation
        conditions = seen.status.get("conditions") or []
        return any(
            item.get("type") == "Drifted"
            and item.get("status") != "Unknown"
            and item.get("observedGeneration") == seen.generation
            for item in conditions
        )

    def _forget_deleted(self) -> None:
        self._records.forget_deleted()
        self._planner.forget_deleted()
        for uid in [uid for uid in self._settled if uid not in self._inventory]:
            del self._settled[uid]


def _release(plan: Plan[R], held: Held[R] | None) -> Change[R] | None:
    if plan.wanted is not None:
        return None
    policy = str(plan.seen.spec.get("deletionPolicy", "Delete"))
    return release(owner=plan.owner, job_id=plan.seen.job_id, held=held, deletion_policy=policy)


def _vacated(plans: Sequence[Plan[R]], held: Mapping[str, Held[R]]) -> dict[str, str]:
    """By job, the owner that releases its row in this round while another resource waits for it.

    A row whose deletion policy is `Forget` is not handed over.
    """
    waited_for = {plan.seen.job_id for plan in plans if plan.wanted is not None}
    found = {}
    for plan in plans:
        change = _release(plan, held.get(plan.seen.job_id))
        if change is not None and change.verb is not Verb.FORGET and change.job_id in waited_for:
            found[change.job_id] = plan.owner
    return found


def _age(seen: Seen) -> tuple[str, str]:
    # The older resource comes first, so that of two new ones for one job the first applied gets the row.
    return str(seen.body.get("metadata", {}).get("creationTimestamp", "")), seen.uid
