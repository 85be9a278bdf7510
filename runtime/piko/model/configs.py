"""Configs of jobs: what a team says in one, its row, and the contents that the row has had."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from piko.model.columns import POSITIVE, Characters, Json, column
from piko.model.digests import Digest

_OBJECT = Json(is_object=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigContent:
    """What people write into a row of `job_config`, or a PikoJobConfig says; each field is a column."""

    job_id: str = field(metadata=column("the job, as the code registers it"))
    schema_version: int = field(
        default=1, metadata=column("version of the shape of config_json, as the job numbers it", POSITIVE)
    )
    config_json: str = field(metadata=column("an object, checked against the model of the job", _OBJECT))
    secret_json: str | None = field(
        default=None, repr=False, metadata=column("merged over config_json; never shown", _OBJECT)
    )
    effective_from: datetime | None = field(default=None, metadata=column("NULL: now"))
    updated_by: str | None = field(
        default=None, metadata=column("who wrote it, by their own account", Characters(255, or_empty=True))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRow(ConfigContent):
    """A row of `job_config`. `version` is the writer's count of edits.

    `secret_unreadable` says why `secret_json` is still encrypted; it is no column.
    """

    version: int
    managed_by: str | None
    updated_at: datetime
    secret_unreadable: str | None = None

    @property
    def digest(self) -> Digest:
        """Differs between any two edits of the row."""
        return self.version, self.updated_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRevision:
    """One content that the config of a job once held, since `created_at`.

    `row_version`, `author` and `source` are the row's `version`, `updated_by` and owner when the content was
    first seen. `error` says why it never took effect; `warning` what in it the job's model leaves out;
    `secret_blanked_at` when its secret part was removed, because it will not be in force again.
    `secret_unreadable` says why its secret part is still encrypted; it is no column.
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
    secret_unreadable: str | None = None


def hashed_parts(
    item: ConfigContent | ConfigRevision, secret_json: str | None
) -> tuple[str, str, str | None, str | None]:
    """Of what `content_hash` is made: the content of `item` with that secret part, plain or encrypted."""
    effective = None if item.effective_from is None else item.effective_from.isoformat()
    return str(item.schema_version), item.config_json, secret_json, effective
