"""Instances: processes that run jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One start of one process; a restart in the same pod is another instance.

    `version` is its release of Piko.
    """

    instance_id: str
    app: str
    host: str
    pid: int
    version: str
