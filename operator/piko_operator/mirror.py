"""Resources into rows.

One round takes everything that is marked, reads the rows of all its jobs, decides (`ownership`), and writes
what has to change in one statement batch per table. What could not be done is marked again after a growing
pause.

Whatever goes wrong with one resource is its own trouble: what fails together is tried in halves, until the
one that is the cause is alone, and any exception that remains becomes the record of its resource.
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
from piko_operator.ownership import Verdict, decide, release
from piko_operator.planning import Plan, Planner
from piko_operator.records import SyncRecord, SyncRecords

_BUSY = 4
"""Failures in a row after which a row that is never as it was read gets a condition."""
_BUSY_MESSAGE = (
    "is never as it was read a moment before: another transaction holds it open, or somebody writes it again "
    "and again; commit or roll back what is open (SHOW PROCESSLIST). It is tried again"
)

log = get_logger(__name__)


class Mirror:
    """Keeps the rows of one kind in step with its resources."""

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
        """Until cancelled."""
        try:
            await repeat(self._round, pause_s=lambda: None, wake=self._inventory.marked)
        finally:
            await self._planner.close()

    async def _round(self) -> None:
        marked, done = self._inventory.take(), False
        try:
            await self.reconcile(marked)
            done = True
        finally:
            if not done:  # when this part is started again, the work is still there
                self._inventory.mark(*(seen.uid for seen in marked))
        self._news.set()

    async def reconcile(self, marked: Sequence[Seen]) -> None:
        """One round over `marked`."""
        started = self._clock.monotonic()
        for kind, table in self._tables.items():
            chosen = {seen.uid: seen for seen in marked if seen.kind == kind}
            for leaving in [seen for seen in chosen.values() if seen.deleting]:
                chosen |= {seen.uid: seen for seen in self._inventory.heirs(kind, leaving.job_id)}
            if chosen:
                await self._reconcile_kind(sorted(chosen.values(), key=_age), table)
        self._forget_the_gone()
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
            self._put_off(affected, "DatabaseUnavailable", f"{error}; it is tried again until it works")
        else:
            if self._database_away and plans:
                log.info("database_available_again")
                self._database_away = False

    def _put_off(self, affected: Sequence[Seen], reason: str, message: str) -> None:
        for seen in affected:
            self._records.fail(seen, reason, message)
            self._records.try_again(seen)

    async def _settle(self, plans: Sequence[Plan[R]], table: ManagedTable[R]) -> None:
        """Write `plans`; what fails together is tried in halves. Raises `DatabaseUnavailableError`."""
        try:
            held = await table.read([plan.seen.job_id for plan in plans])
            await self._write(plans, held, table)
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, it is that of one resource
            if len(plans) == 1:
                self._records.fault(plans[0].seen, error)
                return
            middle = len(plans) // 2
            await self._settle(plans[:middle], table)
            await self._settle(plans[middle:], table)

    async def _write(
        self, plans: Sequence[Plan[R]], held: Mapping[str, Held[R]], table: ManagedTable[R]
    ) -> None:
        verdicts: list[tuple[Plan[R], Verdict[R] | None]] = []
        changes: dict[str, Change[R]] = {}
        vacated = _vacated(plans, held)
        for plan in plans:
            job_id = plan.seen.job_id
            verdict = self._decide(plan, held.get(job_id), table.name, vacated.get(job_id))
            if verdict is None and vacated.get(job_id) == plan.owner:
                verdicts.append((plan, None))  # what is written for the heir is its release
                continue
            change = verdict.change if verdict is not None else _release(plan, held.get(job_id))
            if change is not None and job_id in changes:
                # The row is being written for another resource in this very round.
                self._records.try_again(plan.seen)
                continue
            if change is not None:
                changes[job_id] = change
            verdicts.append((plan, verdict))
        results = await table.apply(list(changes.values()))
        for job_id, result in results.items():
            if result is WriteResult.DONE:
                self._metrics.rows.labels(table=table.name, verb=changes[job_id].verb.value).inc()
        # An heir that the database refuses is no trouble of who leaves: that one's row goes by its policy.
        alone = [
            change
            for plan in plans
            if isinstance(results.get(plan.seen.job_id), RefusedChange)
            and vacated.get(plan.seen.job_id) == plan.owner
            and (change := _release(plan, held.get(plan.seen.job_id))) is not None
        ]
        released_alone = await table.apply(alone)
        released = []
        for plan, verdict in verdicts:
            mine = verdict.change if verdict is not None else _release(plan, held.get(plan.seen.job_id))
            result = results[plan.seen.job_id] if mine is not None else WriteResult.DONE
            if verdict is None:
                result = released_alone.get(plan.seen.job_id, result)
            if self._conclude(plan, verdict, result, table):
                released.append(plan.seen)
        await asyncio.gather(*map(self._let_go, released))

    def _decide(
        self, plan: Plan[R], held: Held[R] | None, table: str, vacated: str | None
    ) -> Verdict[R] | None:
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
        verdict: Verdict[R] | None,
        result: WriteResult | RefusedChange,
        table: ManagedTable[R],
    ) -> bool:
        """Record what became of the resource; whether its finalizer may go."""
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
        elif verdict is None:
            return True
        else:
            self._succeed(plan, verdict, table)
        return False

    def _succeed(self, plan: Plan[R], verdict: Verdict[R], table: ManagedTable[R]) -> None:
        seen = plan.seen
        record = SyncRecord(
            generation=seen.generation,
            synced=verdict.synced,
            drifted=verdict.drifted,
            schedule=plan.schedule,
        )
        self._records.succeed(seen, record)
        if verdict.drifted.status == "Unknown":
            self._settled.pop(seen.uid, None)
        else:
            self._settled[seen.uid] = seen.generation
        if verdict.corrects_drift:
            self._metrics.drift.labels(table=table.name).inc()
        if verdict.change is not None:
            log.info("row_written", table=table.name, job_id=seen.job_id, verb=verdict.change.verb.value)
        if verdict.notice is not None:
            self._events.post(seen, verdict.notice)

    async def _let_go(self, seen: Seen) -> None:
        try:
            await self._cluster.let_go(seen)
        except ClusterError as error:
            self._records.refused(seen, error)
        except Exception as error:  # noqa: BLE001 whatever it is, it is that of this resource
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

    def _forget_the_gone(self) -> None:
        self._records.forget_the_gone()
        self._planner.forget_the_gone()
        for uid in [uid for uid in self._settled if uid not in self._inventory]:
            del self._settled[uid]


def _release(plan: Plan[R], held: Held[R] | None) -> Change[R] | None:
    if plan.wanted is not None:
        return None
    policy = str(plan.seen.spec.get("deletionPolicy", "Delete"))
    return release(owner=plan.owner, job_id=plan.seen.job_id, held=held, deletion_policy=policy)


def _vacated(plans: Sequence[Plan[R]], held: Mapping[str, Held[R]]) -> dict[str, str]:
    """By job the owner that leaves a row in this round which another resource of the round waits for.

    What is to be forgotten is not handed over.
    """
    waited_for = {plan.seen.job_id for plan in plans if plan.wanted is not None}
    found = {}
    for plan in plans:
        change = _release(plan, held.get(plan.seen.job_id))
        if change is not None and change.verb is not Verb.FORGET and change.job_id in waited_for:
            found[change.job_id] = plan.owner
    return found


def _age(seen: Seen) -> tuple[str, str]:
    # The older resource comes first, so that of two new ones for one job the first applied has the row.
    return str(seen.body.get("metadata", {}).get("creationTimestamp", "")), seen.uid
