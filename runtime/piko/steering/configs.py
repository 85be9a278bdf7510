"""The history of a job's config, as people see it, and rolling back to a revision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from piko.errors import NotFoundError, RefusedError
from piko.model.changes import Actor
from piko.model.config_schema import patchable, shown_config
from piko.model.configs import ConfigRevision
from piko.steering.owners import owned_by_resource
from piko.store.configs import ConfigStore
from piko.store.edits import Edits
from piko.store.engine import Database
from piko.store.reports.overview import Overview, unknown_job


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRevisionShown:
    """A revision of a config as people may see it: without its secret part, secrets in it hidden."""

    job_id: str
    revision: int
    schema_version: int
    config: dict[str, Any]
    has_secret: bool
    secret_blanked_at: datetime | None
    effective_from: datetime | None
    author: str | None
    source: str | None
    error: str | None


async def rollback(
    database: Database,
    job_id: str,
    to: int,
    *,
    actor: Actor,
    keep_secret: bool = False,
    dry_run: bool = False,
) -> ConfigRevisionShown:
    """Write the content of revision `to` to `job_config` again, effective at once; that revision, as it is
    shown.

    - `keep_secret`: keep the secret part that the row has now.
    - `dry_run`: change nothing, and refuse what would be refused.

    Raises `NotFoundError`, and `RefusedError` if that revision cannot take effect or a resource owns the row.
    """
    schema = await _schema(database, job_id)
    found = {item.revision: item for item in await _revisions(database, job_id)}
    revision = found.get(to)
    if revision is None:
        known = ", ".join(map(str, sorted(found))) or "none"
        raise NotFoundError(f"{job_id}: its config has no revision {to}; known revisions: {known}")
    if revision.secret_blanked_at is not None and not keep_secret:
        raise RefusedError(
            f"{job_id}: revision {to} held a secret part, which was removed at "
            f"{_shown(revision.secret_blanked_at)} because it was no longer in force; only its config is "
            "left. Roll back to that with --keep-secret, which keeps the row's current secret_json"
        )
    if revision.error is not None:
        raise RefusedError(f"{job_id}: revision {to} never took effect: {revision.error}")
    shown = _as_shown(revision, schema)
    edit = await Edits(database=database).restore_config(
        revision,
        actor=actor,
        author=f"{actor.who} (rollback to {to})",
        keep_secret=keep_secret,
        dry_run=dry_run,
    )
    if edit.owner is not None:
        # The patch keeps what is secret as the resource has it: a merge leaves alone what it does not name.
        config = patchable(json.loads(revision.config_json), shown.config)
        patch = {"spec": {"config": config}}
        raise owned_by_resource(job_id, edit.owner, kind="PikoJobConfig", patch=patch)
    return shown


async def revisions(
    database: Database, job_id: str, *, before: int | None = None, most: int | None = None
) -> list[ConfigRevisionShown]:
    """The revisions of a job's config as they are shown, the newest first. Raises `NotFoundError`.

    - `before`: only those with a smaller number; None: from the newest on.
    - `most`: how many; None: all.
    """
    found = await ConfigStore(database=database).newest_revisions(job_id, before=before, most=most)
    if not found and await Overview(database=database).job(job_id) is None:
        raise await unknown_job(database, job_id)
    schema = await _schema(database, job_id)
    return [_as_shown(item, schema) for item in found]


def _as_shown(revision: ConfigRevision, schema: str | None) -> ConfigRevisionShown:
    return ConfigRevisionShown(
        job_id=revision.job_id,
        revision=revision.revision,
        schema_version=revision.schema_version,
        config=shown_config(revision.config_json, schema),
        has_secret=revision.secret_json is not None,
        secret_blanked_at=revision.secret_blanked_at,
        effective_from=revision.effective_from,
        author=revision.author,
        source=revision.source,
        error=revision.error,
    )


async def _schema(database: Database, job_id: str) -> str | None:
    return (await Overview(database=database).schemas([job_id])).get(job_id)


async def _revisions(database: Database, job_id: str) -> list[ConfigRevision]:
    found = (await ConfigStore(database=database).revisions([job_id]))[::-1]
    if not found and await Overview(database=database).job(job_id) is None:
        raise await unknown_job(database, job_id)
    return found


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
