"""What people change in rows that SQL owns. A row that a resource owns is left alone.

Each edit and its line in `change_log` are one transaction. What others have edited in the same row by SQL
gets its own line first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.changes import Actor
from piko.model.configs import ConfigRevision
from piko.model.digests import Digest
from piko.model.row_edits import RowEdit
from piko.store.audited_rows import audited_configs, audited_schedules
from piko.store.audited_watermarks import log_watermark, mark_watermark, settle_watermark
from piko.store.changes import log_change
from piko.store.engine import Database
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What was found and done. `owner` is the resource that owns the row; then nothing was changed.

    `stale`: the row is not in the state that the caller named; then nothing was changed either.
    """

    found: bool
    changed: bool = False
    owner: str | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkEdit:
    """What an edit of a watermark found: the one `before`, and whether the row is `stale`."""

    before: datetime | None
    stale: bool = False


class Edits:
    """Writes as a person would at a SQL prompt, and logs who did it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._schedules = audited_schedules(database)
        self._configs = audited_configs(database)

    async def set_enabled(
        self,
        job_id: str,
        *,
        enabled: bool,
        until: datetime | None = None,
        actor: Actor,
        seen: Digest | None = None,
        dry_run: bool = False,
    ) -> Edit:
        """Pause or resume a schedule; `dry_run` says what would happen.

        - `until`: when a pause ends by itself; None: never.
        - `seen`: the state of the row that the caller decided on; None: whatever it is.
        """
        columns = scheduled_job.c
        async with self._database.transaction() as connection:
            statement = select(
                columns.enabled,
                columns.paused_until,
                columns.managed_by,
                columns.version,
                columns.updated_at,
            )
            row = (
                await connection.execute(statement.where(columns.job_id == job_id).with_for_update())
            ).first()
            if row is None or row.managed_by is not None:
                return Edit(found=row is not None, owner=None if row is None else row.managed_by)
            if seen is not None and seen != (row.version, row.updated_at):
                return Edit(found=True, stale=True)
            before = {"enabled": bool(row.enabled), "paused_until": row.paused_until}
            after = {"enabled": enabled, "paused_until": until}
            if before == after:
                return Edit(found=True)
            if not dry_run:
                what = "resume" if enabled else "pause"
                await self._change(connection, job_id, actor, what, before=before, after=after)
            return Edit(found=True, changed=True)

    async def set_fields(
        self,
        job_id: str,
        values: Mapping[str, Any],
        *,
        actor: Actor,
        seen: Digest,
        dry_run: bool = False,
    ) -> dict[str, Any] | None:
        """What the fields that differ from `values` held before; None: the row is not in the state `seen`.

        `dry_run` says what would be changed.
        """
        columns = scheduled_job.c
        async with self._database.transaction() as connection:
            statement = select(columns.version, columns.updated_at, *(columns[name] for name in values))
            row = (
                await connection.execute(statement.where(columns.job_id == job_id).with_for_update())
            ).first()
            if row is None or seen != (row.version, row.updated_at):
                return None
            before = {name: row._mapping[name] for name in values if row._mapping[name] != values[name]}
            if before and not dry_run:
                after = {name: values[name] for name in before}
                await self._change(connection, job_id, actor, "edit_schedule", before=before, after=after)
            return before

    async def _change(
        self,
        connection: AsyncConnection,
        job_id: str,
        actor: Actor,
        what: str,
        *,
        before: Mapping[str, object],
        after: Mapping[str, object],
    ) -> None:
        """Write `after` into the row, which is locked, and log it after what SQL has edited there."""
        columns = scheduled_job.c
        known = await self._schedules.settle(connection, [job_id])
        changed = update(scheduled_job).where(columns.job_id == job_id)
        await connection.execute(changed.values(**after, version=columns.version + 1))
        await log_change(connection, actor, what, job_id=job_id, before=before, after=after)
        await self._schedules.log(connection, known, {job_id: actor}, logged=False)

    async def set_watermark(
        self, job_id: str, moment: datetime | None, *, actor: Actor, seen: Digest | None = None
    ) -> WatermarkEdit | None:
        """Move the watermark, which belongs to no resource; None: the job has no row."""
        columns = scheduled_job.c
        async with self._database.transaction() as connection:
            statement = select(columns.last_data_time, columns.version, columns.updated_at)
            row = (
                await connection.execute(statement.where(columns.job_id == job_id).with_for_update())
            ).first()
            if row is None:
                return None
            if seen is not None and seen != (row.version, row.updated_at):
                return WatermarkEdit(before=row.last_data_time, stale=True)
            kept = job_state.c.data_through
            state = (
                await connection.execute(select(kept).where(job_state.c.job_id == job_id).with_for_update())
            ).first()
            await self._schedules.settle(connection, [job_id])
            if state is not None and state.data_through != row.last_data_time:  # SQL has set it meanwhile
                await settle_watermark(
                    connection, job_id, before=state.data_through, after=row.last_data_time
                )
            await connection.execute(
                update(scheduled_job).where(columns.job_id == job_id).values(last_data_time=moment)
            )
            await log_watermark(connection, actor, job_id, before=row.last_data_time, after=moment)
            if state is None or state.data_through != moment:
                await mark_watermark(connection, job_id, moment)
            return WatermarkEdit(before=row.last_data_time)

    async def restore_config(
        self,
        revision: ConfigRevision,
        *,
        actor: Actor,
        author: str,
        keep_secret: bool = False,
        dry_run: bool = False,
    ) -> Edit:
        """Write the content of `revision` to the job's config, from now on, as written by `author`.

        `keep_secret` leaves the row's present secret part as it is; `dry_run` says what would be changed.
        """
        columns = job_config.c
        values: dict[str, Any] = {
            "schema_version": revision.schema_version,
            "config_json": revision.config_json,
            "effective_from": None,
            "updated_by": author,
        }
        if not keep_secret:
            keys = self._database.config_keys
            values["secret_json"] = keys.seal(revision.job_id, revision.secret_json)
        async with self._database.transaction() as connection:
            statement = select(columns.managed_by, columns.version).where(columns.job_id == revision.job_id)
            row = (await connection.execute(statement.with_for_update())).first()
            if row is not None and row.managed_by is not None:
                return Edit(found=True, owner=row.managed_by)
            if dry_run:
                return Edit(found=row is not None, changed=True)
            job_id = revision.job_id
            known = await self._configs.settle(connection, [job_id])
            if row is None:
                await connection.execute(insert(job_config), [{"job_id": revision.job_id, **values}])
            else:
                await connection.execute(
                    update(job_config)
                    .where(columns.job_id == revision.job_id)
                    .values(version=columns.version + 1, **values)
                )
            edit = await self._configs.edit(connection, job_id, known)
            differs = RowEdit(what="", before={}, after={}) if edit is None else edit
            await log_change(
                connection,
                actor,
                "rollback_config",
                job_id=job_id,
                before=None if row is None else {"version": row.version, **(differs.before or {})},
                after={"revision": revision.revision, "keep_secret": keep_secret, **(differs.after or {})},
            )
            await self._configs.log(connection, known, {job_id: actor}, logged=False)
            return Edit(found=row is not None, changed=True)
