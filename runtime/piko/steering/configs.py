"""Rolling a job's config back to a revision."""

from __future__ import annotations

import json
from datetime import datetime

from piko.errors import NotFoundError, RefusedError
from piko.model.changes import Actor
from piko.model.configs import ConfigRevision
from piko.steering.owners import owned_by_resource
from piko.store.configs import ConfigStore
from piko.store.edits import Edits
from piko.store.engine import Database
from piko.store.reports.overview import Overview, unknown_job


async def rollback(
    database: Database,
    job_id: str,
    to: int,
    *,
    actor: Actor,
    keep_secret: bool = False,
    dry_run: bool = False,
) -> ConfigRevision:
    """Write the content of revision `to` to `job_config` again, effective at once; that revision.

    - `keep_secret`: keep the secret part that the row has now.
    - `dry_run`: change nothing, and refuse what would be refused.

    Raises `NotFoundError`, and `RefusedError` if that revision cannot take effect or a resource owns the row.
    """
    found = {item.revision: item for item in await revisions(database, job_id)}
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
    edit = await Edits(database=database).restore_config(
        revision,
        actor=actor,
        author=f"{actor.who} (rollback to {to})",
        keep_secret=keep_secret,
        dry_run=dry_run,
    )
    if edit.owner is not None:
        patch = {"spec": {"config": json.loads(revision.config_json)}}
        raise owned_by_resource(job_id, edit.owner, kind="PikoJobConfig", patch=patch)
    return revision


async def revisions(database: Database, job_id: str) -> list[ConfigRevision]:
    """The revisions of a job's config, the newest first. Raises `NotFoundError`."""
    found = (await ConfigStore(database=database).revisions([job_id]))[::-1]
    if not found and await Overview(database=database).job(job_id) is None:
        raise await unknown_job(database, job_id)
    return found


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
