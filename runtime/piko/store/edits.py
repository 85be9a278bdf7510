"""What the command line changes in rows that SQL owns. A row that a resource owns is left alone."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from piko.model.configs import ConfigRevision
from piko.store.engine import Database
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.schedules import scheduled_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What was found and done. `owner` is the resource that owns the row; then nothing was changed."""

    found: bool
    changed: bool = False
    owner: str | None = None


class Edits:
    """Writes as a person would at a SQL prompt."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def set_enabled(self, job_id: str, *, enabled: bool) -> Edit:
        """Pause or resume a schedule."""
        columns = scheduled_job.c
        async with self._database.transaction() as connection:
            statement = select(columns.enabled, columns.managed_by).where(columns.job_id == job_id)
            row = (await connection.execute(statement.with_for_update())).first()
            if row is None or row.managed_by is not None:
                return Edit(found=row is not None, owner=None if row is None else row.managed_by)
            if bool(row.enabled) is enabled:
                return Edit(found=True)
            await connection.execute(
                update(scheduled_job)
                .where(columns.job_id == job_id)
                .values(enabled=enabled, version=columns.version + 1)
            )
            return Edit(found=True, changed=True)

    async def restore_config(
        self, revision: ConfigRevision, *, author: str, keep_secret: bool = False
    ) -> Edit:
        """Write the content of `revision` to the job's config, from now on.

        `keep_secret` leaves the row's present secret part as it is.
        """
        columns = job_config.c
        values = {
            "schema_version": revision.schema_version,
            "config_json": revision.config_json,
            "effective_from": None,
            "updated_by": author,
            **({} if keep_secret else {"secret_json": revision.secret_json}),
        }
        async with self._database.transaction() as connection:
            statement = select(columns.managed_by).where(columns.job_id == revision.job_id)
            row = (await connection.execute(statement.with_for_update())).first()
            if row is None:
                await connection.execute(insert(job_config), [{"job_id": revision.job_id, **values}])
            elif row.managed_by is not None:
                return Edit(found=True, owner=row.managed_by)
            else:
                await connection.execute(
                    update(job_config)
                    .where(columns.job_id == revision.job_id)
                    .values(version=columns.version + 1, **values)
                )
            return Edit(found=row is not None, changed=True)
