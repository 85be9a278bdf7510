"""Cleans up rows whose resource has vanished without a deletion.

When a resource is deleted, its finalizer stays until its row is released. If a resource is missing without
that (the finalizer was removed by hand, a restore is incomplete, the definitions were removed by force), the
row's schedule is disabled, and the row is removed after a day. The job's progress is kept even then. If
another resource waits for the same job, the row is handed to it at once.

More than a few at a time indicate an accident: then nothing is changed without permission.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from piko.clock import Clock
from piko.model.managed import OPERATOR, Change, Verb, WriteResult
from piko.observability.logs import get_logger
from piko.store.managed import ManagedTable
from piko.store.orphaned_rows import OrphanedRow, OrphanStore
from piko_operator.cluster import Cluster
from piko_operator.inventory import SCHEDULE, Inventory
from piko_operator.metrics import OperatorMetrics
from piko_operator.ownership import is_same_owner

_AT_LEAST = 10
_SHARE = 0.05

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A row and the missing resource that it names."""

    kind: str
    table: str
    job_id: str
    owner: str

    @property
    def key(self) -> tuple[str, str]:
        return self.table, self.job_id


def allowed(rows: int, limit: int | None) -> int:
    """How many rows one sweep may disable or remove, of all `rows` that the cluster owns."""
    return max(_AT_LEAST, int(rows * _SHARE)) if limit is None else limit


class OrphanCleaner:
    """Finds orphaned rows, and disables or removes them."""

    def __init__(
        self,
        *,
        clock: Clock,
        cluster: Cluster,
        inventory: Inventory,
        metrics: OperatorMetrics,
        tables: Mapping[str, ManagedTable[Any]],
        store: OrphanStore,
        cluster_name: str,
        namespaces: Sequence[str],
        limit: int | None,
        grace_s: float,
    ) -> None:
        self._clock = clock
        self._cluster = cluster
        self._inventory = inventory
        self._metrics = metrics
        self._tables = tables
        self._store = store
        self._cluster_name = cluster_name
        self._namespaces = frozenset(namespaces)
        self._limit = limit
        self._grace = timedelta(seconds=grace_s)
        self._reported = 0

    async def look(self, *, except_in: Collection[str], others: Collection[str]) -> None:
        """Check the rows of this cluster after a listing.

        - `except_in`: the namespaces that it could not list.
        - `others`: the uids of resources that another operator serves, which may write to the same database.

        Raises `ClusterError` and `DatabaseUnavailableError`.
        """
        candidates, rows = await self._candidates(except_in, others)
        noted = await self._store.read(self._cluster_name)
        heirs = [item for item in candidates if self._inventory.heirs(item.kind, item.job_id)]
        for orphan in heirs:
            if not await self._is_back(orphan):
                self._inventory.vacate(orphan.kind, orphan.job_id, orphan.owner)
        left = [item for item in candidates if item not in heirs]
        fresh = [item for item in left if not _is_noted(item, noted)]
        due = [item for item in left if _is_noted(item, noted) and self._is_due(noted[item.key])]
        vanished = {item.key for item in left}
        back = {
            key
            for key, row in noted.items()
            if key not in vanished and self._is_listed(row.managed_by, except_in)
        }
        if back:
            await self._store.forget(back)
        most = allowed(rows, self._limit)
        held = len(fresh) + len(due) > most
        self._report_held(len(fresh) + len(due) if held else 0, most)
        if not held:
            for orphan in fresh:
                await self._disable(orphan)
            for orphan in due:
                await self._remove(orphan)
        self._metrics.orphans.labels(state="held").set(len(fresh) + len(due) if held else 0)
        self._metrics.orphans.labels(state="disabled").set(len(left) - len(fresh))

    async def _candidates(
        self, except_in: Collection[str], others: Collection[str]
    ) -> tuple[list[Orphan], int]:
        """The rows whose resource is not in the inventory, and the number of all rows."""
        found, rows = [], 0
        for kind, table in self._tables.items():
            owners = await table.owners(self._cluster_name)
            rows += len(owners)
            for job_id, owner in owners.items():
                namespace, name = _place(owner)
                is_known = self._inventory.has(kind, namespace=namespace, name=name)
                if not is_known and self._is_listed(owner, except_in) and _uid(owner) not in others:
                    found.append(Orphan(kind=kind, table=table.name, job_id=job_id, owner=owner))
        return found, rows

    def _is_listed(self, owner: str, except_in: Collection[str]) -> bool:
        """Whether the listing would have shown the resource that `owner` names."""
        namespace, _ = _place(owner)
        return namespace not in except_in and (not self._namespaces or namespace in self._namespaces)

    async def _is_back(self, orphan: Orphan) -> bool:
        # Another replica of the operator may have written the row for a resource that this one has not seen
        # yet.
        namespace, name = _place(orphan.owner)
        return await self._cluster.exists(orphan.kind, namespace=namespace, name=name)

    def _is_due(self, noted: OrphanedRow) -> bool:
        return noted.found_at + self._grace <= self._clock.now()

    async def _disable(self, orphan: Orphan) -> None:
        if await self._is_back(orphan):
            return
        table, now = self._tables[orphan.kind], self._clock.now()
        if orphan.kind == SCHEDULE and not await self._apply(table, orphan, Verb.SUSPEND):
            return
        await self._store.note(
            OrphanedRow(table_name=orphan.table, job_id=orphan.job_id, managed_by=orphan.owner, found_at=now)
        )
        log.warning(
            "orphan_disabled" if orphan.kind == SCHEDULE else "orphan_found",
            table=orphan.table,
            job_id=orphan.job_id,
            owner=orphan.owner,
            removed_at=(now + self._grace).isoformat(),
            hint="its resource has vanished; apply it again to restore the row",
        )

    async def _remove(self, orphan: Orphan) -> None:
        if not await self._is_back(orphan) and await self._apply(
            self._tables[orphan.kind], orphan, Verb.DELETE
        ):
            await self._store.forget([orphan.key])
            log.warning("orphan_removed", table=orphan.table, job_id=orphan.job_id, owner=orphan.owner)

    async def _apply(self, table: ManagedTable[Any], orphan: Orphan, verb: Verb) -> bool:
        held = (await table.read([orphan.job_id])).get(orphan.job_id)
        if held is None or not is_same_owner(held.row.managed_by, orphan.owner):
            return False
        by = replace(OPERATOR, reason=f"{orphan.kind} {orphan.owner.rpartition('/')[0]}, which has vanished")
        change = Change(verb=verb, job_id=orphan.job_id, seen=held, by=by)
        result = (await table.apply([change]))[orphan.job_id]
        if result is not WriteResult.DONE:
            log.warning("orphan_left", table=orphan.table, job_id=orphan.job_id, outcome=str(result))
        return result is WriteResult.DONE

    def _report_held(self, held: int, most: int) -> None:
        if held and held != self._reported:
            log.error(
                "orphans_held",
                rows=held,
                allowed=most,
                hint="too many resources have vanished at once, so nothing is disabled or removed; apply "
                f"them again, or allow it with PIKO_OPERATOR_ORPHAN_LIMIT={held} "
                "(in the chart operator.orphanLimit)",
            )
        if self._reported and not held:
            log.info("orphans_no_longer_held")
        self._reported = held


def _is_noted(orphan: Orphan, noted: Mapping[tuple[str, str], OrphanedRow]) -> bool:
    known = noted.get(orphan.key)
    return known is not None and is_same_owner(known.managed_by, orphan.owner)


def _uid(owner: str) -> str:
    return owner.rpartition("/")[2]


def _place(owner: str) -> tuple[str, str]:
    """Namespace and name in `cluster/namespace/name/uid`."""
    _, namespace, name, *_ = owner.split("/")
    return namespace, name
