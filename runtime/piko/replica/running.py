"""What the users of `app.running()` may ask of a replica, and may have it do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry

from piko.catalog.jobs import AssessedRow
from piko.model.instances import Instance
from piko.replica.readiness import Readiness

__all__ = ["RunningReplica"]


class RunningReplica(Protocol):
    """A replica from its start to its end.

    Probes read `readiness`, `liveness` and `metrics` from a thread of their own. Everything else belongs to
    the event loop on which the replica runs.
    """

    @property
    def instance(self) -> Instance:
        """Its identity: the id that `job_run` has of what it runs, and the host that metrics have."""
        ...

    @property
    def readiness(self) -> Readiness:
        """Whether it can do its part now, and if not, why not."""
        ...

    @property
    def liveness(self) -> tuple[str, ...]:
        """Why only a new process helps; empty: it does what it can."""
        ...

    @property
    def metrics(self) -> CollectorRegistry: ...

    @property
    def rows_read(self) -> bool:
        """Whether the rows have been read once."""
        ...

    @property
    def assessed_rows(self) -> Mapping[str, AssessedRow]:
        """Each row of `scheduled_job` by job, as it was understood last. The view changes with the rows."""
        ...

    @property
    def config_notes(self) -> Mapping[str, str]:
        """What a person should know of configs that are not as they should be, by job."""
        ...

    @property
    def runs_in_progress(self) -> int:
        """Runs whose handlers run here."""
        ...

    @property
    def abandoned(self) -> int:
        """What goes on although it was cancelled: handlers, writes, closings. The process has to end it."""
        ...

    def stop(self) -> None:
        """Ask for an orderly end; returns at once."""
        ...

    async def ended(self) -> None:
        """Return when it has ended, whatever the reason."""
        ...
