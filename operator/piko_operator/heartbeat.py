"""The sign of life of the operator that acts, with what only it knows: what differs from its row.

`piko status` and the page read it: a person on call need not ask the cluster whether the operator lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.model.troubles import ReportedTrouble, troubles_text
from piko.observability.logs import get_logger
from piko.store.clusters import Clusters
from piko_operator.identity import Identity
from piko_operator.inventory import Inventory
from piko_operator.records import SyncRecords

_EVERY_S = 10.0

log = get_logger(__name__)


class OperatorHeartbeat:
    """Says every ten seconds that the operator of `cluster` acts."""

    name = "heartbeat"

    def __init__(
        self,
        *,
        cluster: str,
        clusters: Clusters,
        identity: Identity,
        inventory: Inventory,
        records: SyncRecords,
        refused: Callable[[], Mapping[str, str]],
        clock: Clock,
        interval_s: float = _EVERY_S,
    ) -> None:
        """`refused`: by namespace, why it cannot be listed; `interval_s`: seconds between two signs."""
        self._cluster = cluster
        self._clusters = clusters
        self._identity = identity
        self._inventory = inventory
        self._records = records
        self._refused = refused
        self._clock = clock
        self._interval_s = interval_s
        self._since: dict[tuple[str, str], datetime] = {}

    async def run(self) -> None:
        """Beat until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,),
            report=lambda error: log.info("heartbeat_without_database", error=str(error)),
        )
        await repeat(self.beat, pause_s=self._interval_s, transient=[away])

    async def beat(self) -> None:
        """One sign of life, if the name is this cluster's own. Raises `DatabaseUnavailableError`."""
        if not self._identity.confirmed:
            return
        await self._clusters.beat(self._cluster, trouble=troubles_text(self._troubles()))

    def _troubles(self) -> list[ReportedTrouble]:
        now, known = self._clock.now(), self._since
        said = list(self._said())
        self._since = {(kind, subject): known.get((kind, subject), now) for kind, subject, _ in said}
        return [
            ReportedTrouble(kind=kind, subject=subject, text=text, since=self._since[kind, subject])
            for kind, subject, text in said
        ]

    def _said(self) -> Iterator[tuple[str, str, str]]:
        for namespace, error in self._refused().items():
            yield "not_listed", f"namespace {namespace}", f"its resources cannot be listed: {error}"
        for uid, record in self._records.differing.items():
            if (seen := self._inventory.get(uid)) is None:
                continue
            subject = f"{seen.kind} {seen.namespace}/{seen.name}"
            if record.drifted is not None and record.has_drifted:
                yield "drift", subject, record.drifted.message
            else:
                yield "not_synced", subject, record.synced.message
