"""What the code of replicas declares."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRow:
    """One registered job."""

    job_id: str
    app: str
    handler: str
    stateful: bool
    backfill_policy: str | None
    config_schema: str | None
    content_hash: str
    instance_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DefiningReplica:
    """A living replica whose app has published a job; `published`: it is the one that did so last."""

    app: str
    instance_id: str
    host: str
    published: bool


@dataclass(slots=True, kw_only=True)
class Published:
    """How many definitions were written, and those that the database refuses, with its words, by job."""

    changed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
