"""What has to be there before a replica's parts start.

A start does not fail because of its environment. Where the database is away or its tables are not there yet,
the replica waits, says so in its readiness, and begins when they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from piko.background.periodic import Transient, repeat
from piko.catalog.catalog import Catalog
from piko.clock import Clock
from piko.core.registry import JobRegistry
from piko.errors import DatabaseUnavailableError, PikoError
from piko.execution.outcome_replay import OutcomeReplay
from piko.leadership.elector import Elector
from piko.model.instances import Instance
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.replica.definitions import published
from piko.store.definitions import DefinitionStore
from piko.store.failures import any_refusal
from piko.store.instances import InstanceStore
from piko.store.schema.status import SchemaState, SchemaStatus

_LOOK_AGAIN_S = 1.0

log = get_logger(__name__)


class Startup:
    """Looks until the tables can be used, and writes what others must know of this replica first.

    `check` looks at the tables, and `where` names the database for a person.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        check: Callable[[], Awaitable[SchemaStatus]],
        clock: Clock,
        definitions: DefinitionStore,
        elector: Elector,
        instance: Instance,
        instances: InstanceStore,
        metrics: Metrics,
        replay: OutcomeReplay,
        registry: JobRegistry,
        timezone: str,
        where: str,
    ) -> None:
        self._catalog = catalog
        self._check = check
        self._clock = clock
        self._definitions = definitions
        self._elector = elector
        self._instance = instance
        self._instances = instances
        self._metrics = metrics
        self._replay = replay
        self._registry = registry
        self._timezone = timezone
        self._where = where
        self.jobs = len(registry)
        self.ready = asyncio.Event()
        """Set when the parts may start."""
        self.waits_for: str | None = "the database has not been looked at yet"

    async def run(self) -> None:
        """Look again and again, until cancelled; `ready` is set when nothing is missing."""
        missing = Transient(errors=(PikoError,), report=self._failed)
        await repeat(self._look, pause_s=_LOOK_AGAIN_S, transient=[missing])

    async def _look(self) -> None:
        status = await self._check()
        if not status.usable:
            self._wait_for(status.message)
            return
        if status.state is SchemaState.AHEAD:
            log.warning("tables_are_newer", message=status.message)
        with any_refusal(self._where):
            # Before this replica is heard of: a leader would give up the runs whose outcomes are on disk.
            await self._replay.replay()
            await self._instances.beat(self._instance)
            await self._publish()
        self.waits_for = None
        self.ready.set()

    async def _publish(self) -> None:
        rows = await published(
            self._registry, instance=self._instance, clock=self._clock, timezone=self._timezone
        )
        result = await self._definitions.publish(rows)
        for job_id, why in result.refused.items():
            log.error("definition_not_published", job_id=job_id, why=why)

    def _failed(self, error: Exception) -> None:
        """The database is away, refuses something, or lacks something: any of it may be put right."""
        if isinstance(error, DatabaseUnavailableError):
            self._elector.was_blind()
            self._catalog.contact.failed()
        self._metrics.db_errors.labels("start").inc()
        self._wait_for(str(error))

    def _wait_for(self, reason: str) -> None:
        if reason != self.waits_for:
            log.warning("waiting_for_database", reason=reason)
        self.waits_for = reason
