"""The life of one replica: it waits for its database, runs its parts, and ends in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from piko.background.garbage import collecting_seldom
from piko.background.supervisor import Supervisor
from piko.background.waiting import first_of
from piko.catalog.jobs import AssessedRow
from piko.model.instances import Instance
from piko.observability.logs import get_logger
from piko.replica.parts import Parts
from piko.replica.readiness import Readiness, ReplicaState, liveness, readiness
from piko.replica.shutdown import steps, take

log = get_logger(__name__)


class Replica:
    """Runs `parts` from start to end, once. It is a `RunningReplica`."""

    def __init__(self, *, parts: Parts) -> None:
        self._parts = parts
        self._supervisor = Supervisor(restarts=parts.metrics.part_restarts)
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        parts.troubles.watch(lambda: self.readiness)
        parts.metrics.ready.set_function(lambda: float(self.readiness.ready))

    # ---- what others ask, from any thread ---------------------------------------------------------

    @property
    def instance(self) -> Instance:
        return self._parts.instance

    @property
    def readiness(self) -> Readiness:
        return readiness(self._state)

    @property
    def liveness(self) -> tuple[str, ...]:
        return liveness(self._state, fatal_s=self._parts.limits.blocked_fatal_s)

    @property
    def metrics(self) -> CollectorRegistry:
        return self._parts.metrics.registry

    @property
    def rows_read(self) -> bool:
        return self._parts.catalog.loaded

    @property
    def assessed_rows(self) -> Mapping[str, AssessedRow]:
        return self._parts.catalog.assessed_rows

    @property
    def config_notes(self) -> Mapping[str, str]:
        configs = self._parts.configs
        notes = {job_id: configs.note(job_id) for job_id in configs.job_ids()}
        return {job_id: note for job_id, note in notes.items() if note is not None}

    @property
    def runs_in_progress(self) -> int:
        return len(self._parts.executor)

    @property
    def abandoned(self) -> int:
        parts = self._parts
        return parts.executor.abandoned + parts.writer.abandoned + parts.closing.abandoned

    @property
    def _state(self) -> ReplicaState:
        return _state_of(
            self._parts, self._supervisor, stopping=self._stop.is_set(), over=self._ended.is_set()
        )

    # ---- its life ----------------------------------------------------------------------------------

    def stop(self) -> None:
        self._stop.set()

    async def ended(self) -> None:
        await self._ended.wait()

    async def run(self) -> None:
        """Wait for the database, keep the parts running until `stop`, end in order."""
        parts = self._parts
        log.info(
            "starting",
            app=parts.instance.app,
            version=parts.instance.version,
            instance_id=parts.instance.instance_id,
            jobs=parts.startup.jobs,
            database=parts.database.where,
        )
        try:
            with collecting_seldom(), parts.watchdog:
                await first_of(parts.startup.run(), parts.startup.ready.wait(), self._stop.wait())
                if not self._stop.is_set():
                    await self._operate()
        finally:
            try:
                await parts.closing.close()
            finally:
                self._ended.set()
                log.info("stopped")

    async def _operate(self) -> None:
        try:
            for part in self._parts.running:
                self._supervisor.start(part)
            await self._stop.wait()
            log.info("stopping", running=len(self._parts.executor))
            await take(steps(self._parts, supervisor=self._supervisor))
        finally:
            await self._supervisor.stop_all()


def _state_of(parts: Parts, supervisor: Supervisor, *, stopping: bool, over: bool) -> ReplicaState:
    """What the parts say now. May be asked from any thread."""
    catalog, blockage = parts.catalog, parts.watchdog.blockage
    answered_at = catalog.contact.answered_at
    return ReplicaState(
        leads=parts.elector.acting is not None,
        stopping=stopping,
        over=over,
        ended_parts=tuple(supervisor.ended),
        waits_for=parts.startup.waits_for,
        failing_parts=dict(supervisor.failing),
        refusal=parts.database.health.refusal,
        blocked_s=parts.watchdog.blocked_for_s,
        blocked_by=None if blockage is None else blockage.by,
        unkept=parts.ledger.failing,
        full=parts.ledger.full,
        stale_since=catalog.stale_since,
        stale_reason=catalog.stale_reason,
        silent_s=0.0 if answered_at is None else parts.clock.monotonic() - answered_at,
        silent_limit_s=parts.limits.silent_s,
        loaded=catalog.loaded,
        election=parts.elector.trouble,
    )
