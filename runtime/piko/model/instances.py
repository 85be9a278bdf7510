"""A process that runs jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One start of one process. A restart under an old pod name is another instance."""

    instance_id: str
    app: str
    host: str
    pid: int
    version: str
