"""What decisions ask of the configs that this replica knows."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from piko.core.registry import JobDefinition


class ReplicaConfigs(Protocol):
    """Configs by job, as `piko.catalog.configs` keeps them."""

    def missing(self, definition: JobDefinition, now: datetime) -> str | None:
        """What the job waits for, where it cannot run without a config and none is in force; else None."""
        ...

    def note(self, job_id: str) -> str | None:
        """What a person should know of the config in the job's row; None where all is well."""
        ...
