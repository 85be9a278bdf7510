"""A job's config, and the contents that it has had."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from piko.model.digests import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRow:
    """The row that people and the operator write."""

    job_id: str
    schema_version: int
    config_json: str
    secret_json: str | None = field(repr=False)
    effective_from: datetime | None
    version: int
    updated_by: str | None
    managed_by: str | None
    updated_at: datetime

    @property
    def digest(self) -> Digest:
        return self.version, self.updated_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRevision:
    """One content that `job_config` once held, since `created_at`.

    `error` says why it never took effect; `warning` what in it the job's model leaves out.
    """

    job_id: str
    revision: int
    content_hash: str
    schema_version: int
    config_json: str
    secret_json: str | None = field(repr=False)
    effective_from: datetime | None
    row_version: int
    author: str | None
    source: str | None
    error: str | None
    created_at: datetime
    warning: str | None = None
    secret_blanked_at: datetime | None = None
