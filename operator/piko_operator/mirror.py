"""Mirrors resources into rows.

One round takes a bounded number of marked resources, reads the rows of all their jobs, decides (`ownership`),
and writes the changes in one batch of statements per table. It sends no request to the API server: finalizers
follow in the background. Failed resources are marked again after a growing pause. While the database is away,
the mirror as a whole pauses and no resource counts as failed.

An error of one resource does not affect the others: a batch that fails is split in halves until the cause is
alone, and any remaining exception becomes the record of its resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.model.managed import Change, Held, R, RefusedChange, Verb, WriteResult
from piko.observability.logs import get_logger
from piko.store.managed import ManagedTable
from piko_operator.events import Events
from piko_operator.finalizers import Finalizers
from piko_operator.identity import Identity, IdentityError
from piko_operator.inventory import Inventory, Seen
from piko_operator.metrics import OperatorMetrics
from piko_operator.ownership import Decision, decide, release
from piko_operator.planning import Plan, Planner
from piko_operator.records import SyncRecord, SyncRecords
from piko_operator.resource_actors import named
from piko_operator.tenancy import in_another_place

_ROUND = 250
"""Resources in one round; the next one takes what has arrived meanwhile."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.2
"""For each resource of a round, how long the next round waits for more of them, and at most."""
_BACKOFF = Backoff(first_s=0.2, longest_s=5.0)
"""The pause of the whole mirror while the database is away."""
_BUSY = 4
"""Conflicts in a row after which a resource gets the condition RowBusy."""
_BUSY_MESSAGE = (
    "changes between every read and write: an open transaction holds it, or another program keeps writing "
    "it; "
    "commit or roll back the transaction (SHOW PROCESSLIST). This is retried"
)

_ONE_NAMESPACE = (
    "spec.jobId: schedule and config of a job come from one namespace, and this job's other resource is in "
    "another; nothing was written; choose another jobId, or delete the other resource"
)

log = get_logger(__name__)


class Mirror:
    """Keeps the rows in step with the resources."""

    name = "mirror"

    def __init__(
        self,
        *,
        clock: Clock,
        inventory: Inventory,
        metrics: OperatorMetrics,
        tables: Mapping[str, ManagedTable[Any]],
        planner: Planner,
        events: Events,
        identity: Identity,
        finalizers: Finalizers,
        look: Callable[..., None],
        records: SyncRecords,
    ) -> None:
        self._clock = clock
        self._inventory = inventory
        self._metrics = metrics
        self._tables = tables
        self._events = events
        self._identity = identity
        self._finalizers = finalizers
        self._look = look
        self._records = records
        self._planner = planner
        self.database_error: str | None = None

    async def run(self) -> None:
        """Reconcile marked resources until cancelled."""
        try:
            await repeat(
                self._round,
                pause_s=lambda: None,
                wake=self._inventory.marked,
                transient=[
                    Transient(errors=(DatabaseUnavailableError,), report=self._away, backoff=_BACKOFF),
                    # Already reported, in the log and by `/readyz`.
                    Transient(errors=(IdentityError,), report=lambda _: None, backoff=_BACKOFF),
                ],
            )
        finally:
            await self._planner.close()

    async def _round(self) -> None:
        marked, done = self._inventory.take_marked(_ROUND), False
        try:
            await self.reconcile(marked)
            done = True
        except DatabaseUnavailableError as error:
            self._put_off("DatabaseUnavailable", f"{error}; this is retried until it succeeds", marked)
            raise
        except IdentityError as error:
            self._put_off(error.reason, str(error), marked)
            raise
        finally:
            if not done:  # keep the work for the next round, or for the restart of this part
                self._inventory.mark(*(seen.uid for seen in marked))
        if self.database_error is not None:
            if marked:
                log.info("database_available_again")
            self.database_error = None  # nothing waits for it any more: whether it answers, others know
        self._look(*(seen.uid for seen in marked))
        # One batch of many costs a fraction of many batches, and the more there was, the more is to come.
        if len(marked) < _ROUND:
            await asyncio.sleep(min(_LONGEST_PAUSE_S, len(marked) * _PAUSE_S))

    async def reconcile(self, marked: Sequence[Seen]) -> None:
        """Run one round over `marked`. Raises `DatabaseUnavailableError` and `IdentityError`."""
        started = self._clock.monotonic()
        for kind, table in self._tables.items():
            chosen = {seen.uid: seen for seen in marked if seen.kind == kind}
            for leaving in [seen for seen in chosen.values() if seen.deleting]:
                chosen |= {seen.uid: seen for seen in self._inventory.heirs(kind, leaving.job_id)}
            if chosen:
                await self._identity.confirm()
                plans = await self._planner.plans(sorted(chosen.values(), key=_age))
                await self._settle([plan for plan in plans if not self._is_replaced(plan)], table)
        self._metrics.latency.observe(self._clock.monotonic() - started)

    def _is_replaced(self, plan: Plan[Any]) -> bool:
        """Whether another object has the name of a deleted one, and so owns its row."""
        seen = plan.seen
        if not seen.deleted or not self._inventory.has(seen.kind, namespace=seen.namespace, name=seen.name):
            return False
        self._inventory.forget(seen.uid)
        return True

    def _away(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        if self.database_error is None:
            log.warning("database_unavailable", error=str(error))
        self.database_error = str(error)

    def _put_off(self, reason: str, message: str, marked: Sequence[Seen]) -> None:
        """Say once of each resource with something to write that this has to wait."""
        waiting = {seen.uid: seen for seen in (*marked, *self._inventory.waiting())}
        self._look(*(uid for uid, seen in waiting.items() if self._records.unknown(seen, reason, message)))

    async def _settle(self, plans: Sequence[Plan[R]], table: ManagedTable[R]) -> None:
        """Write `plans`; a failing batch is split in halves. Raises `DatabaseUnavailableError`."""
        try:
            held = await table.read([plan.seen.job_id for plan in plans])
            await self._write(await self._of_one_namespace(plans), held, table)
        except DatabaseUnavailableError:
            raise
        except Exception as error:
            if len(plans) == 1:
                self._records.fault(plans[0].seen, error)
                self._records.try_again(plans[0].seen)
                return
            if not plans:
                raise
            middle = len(plans) // 2
            await self._settle(plans[:middle], table)
            await self._settle(plans[middle:], table)

    async def _of_one_namespace(self, plans: Sequence[Plan[R]]) -> list[Plan[R]]:
        """The plans except for those of jobs whose other row comes from another namespace."""
        doubtful = {
            plan.seen.uid: plan
            for plan in plans
            if plan.wanted is not None and self._inventory.is_declared_by_another(plan.seen)
        }
        for kind, table in self._tables.items():
            asked = [plan for plan in doubtful.values() if plan.seen.kind != kind]
            owners = await table.read([plan.seen.job_id for plan in asked]) if asked else {}
            for plan in asked:
                other = owners.get(plan.seen.job_id)
                if other is None or not in_another_place(plan.owner, other.row.managed_by):
                    del doubtful[plan.seen.uid]
        for plan in doubtful.values():
            self._records.fail(plan.seen, "NotAllowed", _ONE_NAMESPACE)
        return [plan for plan in plans if plan.seen.uid not in doubtful]

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
                changes[job_id] = named(change, plan.seen, plan.owner, decision)
            decisions.append((plan, decision))
        results = await table.apply(list(changes.values()))
        for job_id, result in results.items():
            if result is WriteResult.DONE:
                self._metrics.rows.labels(table=table.name, verb=changes[job_id].verb.value).inc()
        # If the database refuses the heir's row, the leaving resource's deletion policy applies.
        alone = [
            named(change, plan.seen, plan.owner, None)
            for plan in plans
            if isinstance(results.get(plan.seen.job_id), RefusedChange)
            and vacated.get(plan.seen.job_id) == plan.owner
            and (change := _release(plan, held.get(plan.seen.job_id))) is not None
        ]
        released_alone = await table.apply(alone)
        for plan, decision in decisions:
            mine = decision.change if decision is not None else _release(plan, held.get(plan.seen.job_id))
            result = results[plan.seen.job_id] if mine is not None else WriteResult.DONE
            if decision is None:
                result = released_alone.get(plan.seen.job_id, result)
            self._conclude(plan, decision, result, table)

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
            settled=self._records.is_settled(plan.seen),
            vacated=vacated or self._inventory.vacated(plan.seen.kind, plan.seen.job_id),
        )

    def _conclude(
        self,
        plan: Plan[R],
        decision: Decision[R] | None,
        result: WriteResult | RefusedChange,
        table: ManagedTable[R],
    ) -> None:
        """Record the result for the resource, and have its finalizer set or removed."""
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
        else:
            if decision is not None:
                self._succeed(plan, decision, table)
            if seen.deleting or not seen.is_held:
                self._finalizers.want(seen)

    def _succeed(self, plan: Plan[R], decision: Decision[R], table: ManagedTable[R]) -> None:
        seen = plan.seen
        record = SyncRecord(
            generation=seen.generation,
            synced=decision.synced,
            drifted=decision.drifted,
            schedule=plan.schedule,
            paused=seen.paused,
            reconcile_at=seen.reconcile_at,
        )
        if not self._finalizers.is_refused(seen):
            self._records.succeed(seen, record)
        if decision.corrects_drift:
            self._metrics.drift.labels(table=table.name).inc()
        if decision.change is not None:
            log.info("row_written", table=table.name, job_id=seen.job_id, verb=decision.change.verb.value)
        if decision.notice is not None:
            self._events.post(seen, decision.notice)


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
    return seen.created_at, seen.uid
