"""The sign of life of one instance: runs of an instance that stopped giving it are lost."""

from __future__ import annotations

import asyncio

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.errors import DatabaseUnavailableError
from piko.model.instances import Instance
from piko.model.sinks import sinks_text
from piko.model.troubles import troubles_text
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.replica.troubles import ReplicaTroubles
from piko.store.instances import InstanceStore

_FORGET_AFTER_S = 7 * 86_400.0
_PRUNE_EVERY = 360
_PATIENCE_S = 2.0
_LONGEST_RETRY_S = 1.0

log = get_logger(__name__)


class Heartbeat:
    """Says every `interval_s` that `instance` lives."""

    name = "heartbeat"

    def __init__(
        self,
        *,
        instances: InstanceStore,
        instance: Instance,
        troubles: ReplicaTroubles,
        metrics: Metrics,
        interval_s: float,
    ) -> None:
        """`troubles`: what the row says of its troubles, and of its sinks."""
        self._instances = instances
        self._instance = instance
        self._troubles = troubles
        self._metrics = metrics
        self._interval_s = interval_s
        self._beats = 0

    async def run(self) -> None:
        """Beat until cancelled; a beat that fails is made up for sooner."""
        away = Transient(
            errors=(DatabaseUnavailableError, TimeoutError),
            report=self._failed,
            backoff=Backoff.steady(min(_LONGEST_RETRY_S, self._interval_s)),
        )
        await repeat(self._beat, pause_s=self._interval_s, transient=[away])

    async def _beat(self) -> None:
        # One that hangs must not keep the next one from a connection that works.
        async with asyncio.timeout(max(self._interval_s, _PATIENCE_S)):
            trouble = troubles_text(await self._troubles.look())
            self._metrics.persistence_oldest.replace(
                {state.sink: state.oldest_at for state in self._troubles.sinks}
            )
            sinks = sinks_text(self._troubles.sinks)
            await self._instances.beat(self._instance, trouble=trouble, sinks=sinks)
            self._beats += 1
            if self._beats % _PRUNE_EVERY == 1:
                await self._instances.prune(older_than_s=_FORGET_AFTER_S)

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("heartbeat_failed", error=str(error) or "no answer in time")
