"""Resources into rows.

One round takes everything that is marked, reads the rows of all its jobs, decides (`ownership`), and writes
what has to change in one statement batch per table. What could not be done is marked again after a growing
pause. What became of a resource is kept as its `Record`, from which `status` makes the conditions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import ValidationError

from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko.store.managed import Change, Held, ManagedTable, Outcome, R, Refusal
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.inventory import Inventory, Seen
from piko_operator.manifests import explain
from piko_operator.mapping import config_row, describe, owner_of, schedule_row
from piko_operator.metrics import OperatorMetrics
from piko_operator.ownership import Condition, Notice, Verdict, decide, release, synced
from piko_operator.resources import API_VERSION, MODELS, PikoSchedule
from piko_operator.secrets import SecretUnavailableError, read_secrets

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of one generation of a resource; `drifted` is None where that could not be looked at."""

    generation: int
    synced: Condition
    drifted: Condition | None = None
    schedule: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan(Generic[R]):
    seen: Seen
    owner: str
    wanted: R | None = None
    adoption_policy: str = "Refuse"
    drift_policy: str = "Enforce"
    schedule: str | None = None


class Mirror:
    """Keeps the rows of one kind in step with its resources."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        inventory: Inventory,
        metrics: OperatorMetrics,
        tables: Mapping[str, ManagedTable[Any]],
        cluster_name: str,
        news: asyncio.Event,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._inventory = inventory
        self._metrics = metrics
        self._tables = tables
        self._cluster_name = cluster_name
        self._news = news
        self._records: dict[str, Record] = {}
        self._settled: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._database_away = False

    def record(self, uid: str) -> Record | None:
        return self._records.get(uid)

    def owner(self, seen: Seen) -> str:
        return owner_of(cluster=self._cluster_name, namespace=seen.namespace, name=seen.name, uid=seen.uid)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._inventory.wait()
            marked = self._inventory.take()
            done = False
            try:
                await self.reconcile(marked)
                done = True
            finally:
                if not done:  # whoever starts this part again finds the work still there
                    self._inventory.mark(*(seen.uid for seen in marked))
            self._news.set()

    async def reconcile(self, marked: Sequence[Seen]) -> None:
        """One round over `marked`."""
        started = self._clock.monotonic()
        for kind, table in self._tables.items():
            chosen = sorted((seen for seen in marked if seen.kind == kind), key=_age)
            if chosen:
                await self._reconcile_kind(chosen, table)
        self._forget_the_gone()
        self._metrics.latency.observe(self._clock.monotonic() - started)

    async def _reconcile_kind(self, chosen: Sequence[Seen], table: ManagedTable[R]) -> None:
        plans = [plan for plan in await asyncio.gather(*map(self._prepare, chosen)) if plan is not None]
        try:
            held = await table.read([plan.seen.job_id for plan in plans])
            await self._write(plans, held, table)
        except DatabaseUnavailableError as error:
            if not self._database_away:
                log.warning("database_unavailable", error=str(error))
            self._database_away = True
            for plan in plans:
                self._fail(plan.seen, "DatabaseUnavailable", f"{error}; it is tried again until it works")
                self._try_again(plan.seen)
        else:
            if self._database_away and plans:
                log.info("database_available_again")
                self._database_away = False

    async def _prepare(self, seen: Seen) -> _Plan[Any] | None:
        """What the resource wants; None if that cannot be said, which is then recorded."""
        owner = self.owner(seen)
        if seen.deleting:
            return _Plan(seen=seen, owner=owner) if seen.is_held else None
        try:
            plan = await self._parse(seen, owner)
            if plan is not None and not seen.is_held:
                held = await self._cluster.hold(seen)
                self._inventory.observe(held)
        except ClusterError as error:
            if error.status != 404:
                log.warning("cluster_call_failed", kind=seen.kind, name=seen.name, error=str(error))
                self._try_again(seen)
            return None
        return plan

    async def _parse(self, seen: Seen, owner: str) -> _Plan[Any] | None:
        document = {
            "apiVersion": API_VERSION,
            "kind": seen.kind,
            "metadata": {"name": seen.name, "namespace": seen.namespace, "uid": seen.uid},
            "spec": seen.spec,
        }
        try:
            resource = MODELS[seen.kind].model_validate(document)
        except ValidationError as error:
            self._fail(seen, "InvalidSpec", "; ".join(explain(error)) + "; the row stays as it was")
            return None
        policies = {
            "adoption_policy": resource.spec.adoption_policy,
            "drift_policy": resource.spec.drift_policy,
        }
        if isinstance(resource, PikoSchedule):
            row = schedule_row(resource, owner=owner)
            line = describe(resource.spec.schedule)
            return _Plan(seen=seen, owner=owner, wanted=row, schedule=line, **policies)
        try:
            secret = await read_secrets(resource, cluster=self._cluster)
        except SecretUnavailableError as error:
            self._fail(seen, "SecretUnavailable", f"{error}; the row stays as it was")
            return None
        return _Plan(
            seen=seen, owner=owner, wanted=config_row(resource, owner=owner, secret=secret), **policies
        )

    async def _write(
        self, plans: Sequence[_Plan[R]], held: Mapping[str, Held[R]], table: ManagedTable[R]
    ) -> None:
        verdicts: list[tuple[_Plan[R], Verdict[R] | None]] = []
        changes: dict[str, Change[R]] = {}
        for plan in plans:
            job_id = plan.seen.job_id
            verdict = self._decide(plan, held.get(job_id), table.name)
            change = verdict.change if verdict is not None else _release(plan, held.get(job_id))
            if change is not None and job_id in changes:
                self._try_again(plan.seen)  # the row is being written for another resource in this very round
                continue
            if change is not None:
                changes[job_id] = change
            verdicts.append((plan, verdict))
        results = await table.apply(list(changes.values()))
        for job_id, result in results.items():
            if result is Outcome.DONE:
                self._metrics.rows.labels(table=table.name, verb=changes[job_id].verb.value).inc()
        for plan, verdict in verdicts:
            mine = verdict.change if verdict is not None else _release(plan, held.get(plan.seen.job_id))
            result = results[plan.seen.job_id] if mine is not None else Outcome.DONE
            await self._conclude(plan, verdict, result, table)

    def _decide(self, plan: _Plan[R], held: Held[R] | None, table: str) -> Verdict[R] | None:
        if plan.wanted is None:
            return None
        return decide(
            wanted=plan.wanted,
            held=held,
            table=table,
            adoption_policy=plan.adoption_policy,
            drift_policy=plan.drift_policy,
            settled=self._is_settled(plan.seen),
        )

    async def _conclude(
        self, plan: _Plan[R], verdict: Verdict[R] | None, result: Outcome | Refusal, table: ManagedTable[R]
    ) -> None:
        seen = plan.seen
        if isinstance(result, Refusal):
            message = f"{table.name} does not accept the row of job {seen.job_id!r}: {result.why}"
            self._fail(seen, "RowRefused", message)
            self._try_again(seen)
        elif result is Outcome.STALE:
            self._try_again(seen)
        elif verdict is None:
            await self._let_go(seen)
        else:
            self._failures.pop(seen.uid, None)
            self._records[seen.uid] = Record(
                generation=seen.generation,
                synced=verdict.synced,
                drifted=verdict.drifted,
                schedule=plan.schedule,
            )
            if verdict.drifted.status == "Unknown":
                self._settled.pop(seen.uid, None)
            else:
                self._settled[seen.uid] = seen.generation
            if verdict.corrects_drift:
                self._metrics.drift.labels(table=table.name).inc()
            if verdict.change is not None:
                log.info("row_written", table=table.name, job_id=seen.job_id, verb=verdict.change.verb.value)
            if verdict.notice is not None:
                await self._announce(seen, verdict.notice)

    async def _let_go(self, seen: Seen) -> None:
        try:
            await self._cluster.let_go(seen)
        except ClusterError as error:
            log.warning("cluster_call_failed", kind=seen.kind, name=seen.name, error=str(error))
            self._try_again(seen)
        else:
            log.info("resource_released", kind=seen.kind, namespace=seen.namespace, name=seen.name)
            self._inventory.forget(seen.uid)

    async def _announce(self, seen: Seen, notice: Notice) -> None:
        try:
            await self._cluster.announce(seen, notice)
        except ClusterError as error:
            log.warning("event_not_posted", reason=notice.reason, message=notice.message, error=str(error))

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

    def _fail(self, seen: Seen, reason: str, message: str) -> None:
        known = self._records.get(seen.uid)
        if known is None or known.synced.reason != reason:
            log.warning("not_synced", kind=seen.kind, namespace=seen.namespace, name=seen.name, reason=reason)
        self._records[seen.uid] = Record(
            generation=seen.generation,
            synced=synced("False", reason, message),
            schedule=known.schedule if known else None,
        )

    def _try_again(self, seen: Seen) -> None:
        failures = self._failures.get(seen.uid, 0)
        self._failures[seen.uid] = failures + 1
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(failures, 10))
        asyncio.get_running_loop().call_later(pause, self._inventory.mark, seen.uid)

    def _forget_the_gone(self) -> None:
        kept: dict[str, Any]
        for kept in (self._records, self._settled, self._failures):
            for uid in [uid for uid in kept if uid not in self._inventory]:
                del kept[uid]


def _release(plan: _Plan[R], held: Held[R] | None) -> Change[R] | None:
    if plan.wanted is not None:
        return None
    policy = str(plan.seen.spec.get("deletionPolicy", "Delete"))
    return release(owner=plan.owner, job_id=plan.seen.job_id, held=held, deletion_policy=policy)


def _age(seen: Seen) -> tuple[str, str]:
    # The older resource comes first, so that of two new ones for one job the first applied has the row.
    return str(seen.body.get("metadata", {}).get("creationTimestamp", "")), seen.uid
