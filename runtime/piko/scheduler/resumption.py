"""Resumes schedules that were paused until an instant, once it has come, while this replica leads.

The row says what is so: at `paused_until` the leader sets `enabled = 1`, as a person would, and the catalog
sees the edit as it sees any other. So nothing of what was due meanwhile is made up, and a change of leader
delays a resumption but loses none.
"""

from __future__ import annotations

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.errors import DatabaseUnavailableError, FencedError
from piko.leadership.elector import Elector, leadership
from piko.model.changes import Actor
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.pauses import PauseStore
from piko.text import listed

_BATCH = 200
_AGAIN_S = 5.0

log = get_logger(__name__)


class Resumption:
    """Looks every `poll_interval_s` while `elector` leads; `name_of_leader` is who the change log names."""

    name = "resumption"

    def __init__(
        self,
        *,
        store: PauseStore,
        elector: Elector,
        metrics: Metrics,
        name_of_leader: str,
        poll_interval_s: float,
    ) -> None:
        self._store = store
        self._elector = elector
        self._metrics = metrics
        self._actor = Actor(who=name_of_leader, via="leader", reason="paused_until has come")
        self._poll_interval_s = poll_interval_s

    async def run(self) -> None:
        """Look, until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,), report=self._failed, backoff=Backoff.steady(_AGAIN_S)
        )
        await repeat(self.look, pause_s=lambda: self._poll_interval_s, transient=[away])

    async def look(self) -> None:
        """Resume what is to be resumed by now."""
        fence = await leadership(self._elector)
        try:
            resumed = await self._store.end(fence, actor=self._actor, limit=_BATCH)
        except FencedError:
            self._elector.deposed(fence)
            return
        if resumed:
            log.info("schedules_resumed", jobs=listed(resumed))

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("resumptions_wait", error=str(error))
