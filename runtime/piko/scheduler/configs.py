"""Which config a run gets.

Every content that `job_config` ever held is a revision. In force is the newest revision that is valid and
whose `effective_from` has come; so a config for the future leaves the present one in force until then,
across restarts, and an invalid one never replaces a valid one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from piko.core.identity import content_hash
from piko.core.registry import JobDefinition, JobRegistry
from piko.errors import ConfigError
from piko.store.configs import ConfigRevision, ConfigRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigInForce:
    """What a run gets as `ctx["config"]`. `revision` is None where nothing was ever configured."""

    revision: int | None
    value: Any


class ConfigBook:
    """The revisions of every job's config, as this replica knows them."""

    def __init__(self, *, registry: JobRegistry) -> None:
        self._registry = registry
        self._revisions: dict[str, list[ConfigRevision]] = {}
        self._present: set[str] = set()
        self._unrecorded: dict[tuple[str, int], ConfigRevision] = {}

    def load(self, revisions: Iterable[ConfigRevision]) -> None:
        """Take over what is recorded, oldest first per job."""
        found: dict[str, list[ConfigRevision]] = {}
        for revision in revisions:
            found.setdefault(revision.job_id, []).append(revision)
        self._revisions.update(found)
        for job_id in found:
            self._unrecorded = {key: item for key, item in self._unrecorded.items() if key[0] != job_id}

    def observe(self, rows: Iterable[ConfigRow]) -> None:
        """Note what the rows hold now; a content other than the newest revision's is a new revision."""
        for row in rows:
            self._present.add(row.job_id)
            known = self._revisions.setdefault(row.job_id, [])
            effective = None if row.effective_from is None else row.effective_from.isoformat()
            digest = content_hash(str(row.schema_version), row.config_json, row.secret_json, effective)
            if known and known[-1].content_hash == digest:
                continue
            revision = ConfigRevision(
                job_id=row.job_id,
                revision=known[-1].revision + 1 if known else 1,
                content_hash=digest,
                schema_version=row.schema_version,
                config_json=row.config_json,
                secret_json=row.secret_json,
                effective_from=row.effective_from,
                row_version=row.version,
                author=row.updated_by,
                source=row.managed_by or "sql",
                error=self._error(row.job_id, row.config_json, row.secret_json),
            )
            known.append(revision)
            self._unrecorded[row.job_id, revision.revision] = revision

    def drop(self, job_ids: Iterable[str]) -> None:
        """The rows of `job_ids` are gone: their jobs run with their defaults."""
        self._present.difference_update(job_ids)

    def unrecorded(self) -> Sequence[ConfigRevision]:
        """Revisions that the leader has still to write down."""
        return list(self._unrecorded.values())

    def recorded(self, revisions: Iterable[ConfigRevision]) -> None:
        for revision in revisions:
            self._unrecorded.pop((revision.job_id, revision.revision), None)

    def in_force(self, definition: JobDefinition, now: datetime) -> ConfigInForce:
        """The config of a run that starts now.

        Raises `ConfigError` where the job's model has required fields and no valid config is in force.
        """
        revisions = self._revisions.get(definition.job_id, []) if definition.job_id in self._present else []
        effective = [
            item
            for item in revisions
            if item.error is None and (item.effective_from is None or item.effective_from <= now)
        ]
        if effective:
            newest = effective[-1]
            value = typed_config(definition.schema, newest.config_json, newest.secret_json)
            return ConfigInForce(revision=newest.revision, value=value)
        if definition.schema is None:
            return ConfigInForce(revision=None, value={})
        try:
            return ConfigInForce(revision=None, value=definition.schema())
        except ValidationError as error:
            rejected = [item.error for item in revisions if item.error is not None]
            raise ConfigError(
                f"job {definition.job_id!r} waits for a config: no job_config is in force, and its model "
                f"{definition.schema.__name__} has required fields: {_issues(error)}"
                + (f"; the newest row was refused: {rejected[-1]}" if rejected else "")
            ) from None

    def _error(self, job_id: str, config_json: str, secret_json: str | None) -> str | None:
        definition = self._registry.get(job_id)
        try:
            typed_config(None if definition is None else definition.schema, config_json, secret_json)
        except ConfigError as error:
            return str(error)
        return None


def typed_config(schema: type[BaseModel] | None, config_json: str, secret_json: str | None) -> Any:
    """The config as its model, or as a dict where the job has none.

    Raises `ConfigError` that names each field; values are left out, they may be secret.
    """
    merged: dict[str, Any] = {}
    for column, text in (("config_json", config_json), ("secret_json", secret_json)):
        if text is None:
            continue
        try:
            part = json.loads(text)
        except ValueError:
            raise ConfigError(f"{column} is not JSON; expected an object") from None
        if not isinstance(part, dict):
            raise ConfigError(f"{column} is a JSON {type(part).__name__}; expected an object")
        merged.update(part)
    if schema is None:
        return merged
    try:
        return schema.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"the config does not fit {schema.__name__}: {_issues(error)}") from None


def _issues(error: ValidationError) -> str:
    items = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'config'}: {item['msg']}" for item in items)
