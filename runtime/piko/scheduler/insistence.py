"""Calls that are made until the database answers, as long as the leadership lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from piko.catalog.catalog import Catalog
from piko.errors import DatabaseUnavailableError, FencedError
from piko.leadership.elector import Elector
from piko.model.fences import Fence
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics

_AGAIN_S = 0.5

T = TypeVar("T")

log = get_logger(__name__)


class Insistence:
    """For the calls of one term. `part` names who makes them in the metrics."""

    def __init__(
        self, *, fence: Fence, elector: Elector, catalog: Catalog, metrics: Metrics, part: str
    ) -> None:
        self._fence = fence
        self._elector = elector
        self._catalog = catalog
        self._metrics = metrics
        self._part = part

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make `call` until the database answers. Raises `FencedError` when the term ends first."""
        while True:
            try:
                return await call()
            except DatabaseUnavailableError as error:
                self._metrics.db_errors.labels(self._part).inc()
                log.warning("database_away", error=str(error))
            await asyncio.sleep(_AGAIN_S)
            while self._elector.fence == self._fence and self._elector.acting is None:
                await self._catalog.wait(within_s=_AGAIN_S)
            if self._elector.fence != self._fence:
                epoch = self._fence.epoch
                raise FencedError(f"leadership under epoch {epoch} ended while the database was away")
