"""Definitions: the jobs that the code of replicas registers, as they are published in `job_definition`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRow:
    """One registered job.

    `handler` is `module:qualified name`; `config_schema` is JSON Schema, None: any object. `timezone` is that
    of schedules which name none.
    """

    job_id: str
    app: str
    handler: str
    stateful: bool
    backfill_policy: str | None
    config_schema: str | None
    content_hash: str
    instance_id: str
    data_within_s: float | None = None
    start_within_s: float | None = None
    finish_within_s: float | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefiningReplica:
    """A replica that is alive and whose app has published a job; `published`: it was the last to do so."""

    app: str
    instance_id: str
    host: str
    published: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """How many definitions were written, and the refusals of the database by job, in its words."""

    changed: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
