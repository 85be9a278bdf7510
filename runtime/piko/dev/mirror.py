"""Mirrors the folder into rows, as the operator does on a cluster.

Ownership works the same way: `managed_by` names the folder's file, a row that SQL owns is left alone unless
the resource adopts it, and a deleted resource releases its row by its `deletionPolicy`. A file that held
resources and now holds none does not count as a deletion: its rows stay, and the file is reported as broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from piko.dev.files import Declared, Reading
from piko.model.changes import Actor
from piko.model.managed import Change, Held, RefusedChange, Verb, WriteResult
from piko.model.progress import JobProgress
from piko.store.engine import Database
from piko.store.managed import ManagedTable, managed_configs, managed_schedules
from piko.store.progress import ProgressStore
from piko_operator.mapping import config_row, owner_of, schedule_row
from piko_operator.resources import PikoJobConfig, PikoSchedule

_CLUSTER = "dev"
_AUTHOR = "piko-dev"
_RELEASE = {"Forget": Verb.FORGET, "Disable": Verb.DISABLE, "Retain": Verb.HAND_BACK}


class FolderMirror:
    """Keeps the rows in step with the folder's resources."""

    def __init__(self, *, database: Database) -> None:
        self._tables: Mapping[str, ManagedTable[Any]] = {
            "PikoSchedule": managed_schedules(database),
            "PikoJobConfig": managed_configs(database),
        }
        self._kept = ProgressStore(database=database)
        self._deletion_policies: dict[tuple[str, str], str] = {}

    async def apply(self, reading: Reading) -> tuple[list[str], list[str]]:
        """Write the differences; returns a line for each change and for each problem.

        Raises `DatabaseUnavailableError`.
        """
        done: list[str] = []
        problems: list[str] = []
        for kind, table in self._tables.items():
            wanted = {item.job_id: item for item in reading.declared if item.kind == kind}
            await self._write(table, wanted, done, problems)
            await self._release(table, kind, wanted, reading, done, problems)
        self._deletion_policies |= {
            (item.kind, item.job_id): item.resource.spec.deletion_policy for item in reading.declared
        }
        return done, problems

    async def _write(
        self, table: ManagedTable[Any], wanted: Mapping[str, Declared], done: list[str], problems: list[str]
    ) -> None:
        held = await table.read(wanted)
        changes: list[Change[Any]] = []
        for job_id, item in wanted.items():
            change = self._change(item, held.get(job_id), problems)
            if change is not None:
                changes.append(replace(change, by=_by(item.where)))
        new = [change.job_id for change in changes if change.verb is Verb.CREATE]
        kept = await self._kept.without_row(new) if new and table.name == "scheduled_job" else {}
        results = await table.apply(changes)
        for change in changes:
            item, result = wanted[change.job_id], results[change.job_id]
            if isinstance(result, RefusedChange):
                problems.append(f"{item.where}: the database refuses its row: {result.why}")
            elif result is WriteResult.STALE:
                problems.append(f"{item.where}: its row was edited at the same time; save the file again")
            else:
                what = "new" if change.verb is Verb.CREATE else "changed"
                done.append(f"{what}: {item.where}{_goes_on(kept.get(change.job_id))}")

    def _change(self, item: Declared, held: Held[Any] | None, problems: list[str]) -> Change[Any] | None:
        row = _row(item)
        if isinstance(item.resource, PikoJobConfig) and item.resource.spec.config_from:
            problems.append(
                f"{item.where}: spec.configFrom needs the Secrets and ConfigMaps of a cluster, which "
                "piko dev does not have; the job gets only spec.config"
            )
        if held is None:
            return Change(verb=Verb.CREATE, job_id=item.job_id, row=row)
        owner = held.row.managed_by
        if owner is None and item.resource.spec.adoption_policy != "Adopt":
            problems.append(
                f"{item.where}: the row of job {item.job_id!r} belongs to SQL (its managed_by is NULL), "
                "nothing was written; set spec.adoptionPolicy to Adopt to take it over, or delete the row"
            )
            return None
        if held.row == row:
            return None
        return Change(verb=Verb.REPLACE, job_id=item.job_id, row=row, seen=held)

    async def _release(
        self,
        table: ManagedTable[Any],
        kind: str,
        wanted: Mapping[str, Declared],
        reading: Reading,
        done: list[str],
        problems: list[str],
    ) -> None:
        owners = await table.owners(_CLUSTER)
        files = {job_id: by.rpartition("/")[2] for job_id, by in owners.items() if job_id not in wanted}
        problems.extend(
            f"{file}: it held the {kind} of job {job_id!r} and now holds no resource; its row is "
            "unchanged. Restore the resource, or delete the file to remove what it declared"
            for job_id, file in files.items()
            if file in reading.silent
        )
        deleted = [job_id for job_id, file in files.items() if file not in reading.silent | reading.unknown]
        held = await table.read(deleted)
        changes = [
            Change(
                verb=_RELEASE.get(self._deletion_policies.get((kind, job_id), "Delete"), Verb.DELETE),
                job_id=job_id,
                seen=seen,
                by=_by(f"{files[job_id]}, which no longer declares it"),
            )
            for job_id, seen in held.items()
        ]
        results = await table.apply(changes)
        for change in changes:
            what = f"{kind} of job {change.job_id!r}"
            result = results[change.job_id]
            if isinstance(result, RefusedChange):
                problems.append(f"{what}: the database refuses to release its row: {result.why}")
            elif result is WriteResult.DONE:
                self._deletion_policies.pop((kind, change.job_id), None)
                done.append(f"deleted: {what}, its row: {change.verb.value.replace('_', ' ')}")


def _goes_on(kept: JobProgress | None) -> str:
    moments = () if kept is None else (kept.data_through, kept.cursor_at)
    moment = next((moment for moment in moments if moment is not None), None)
    return "" if moment is None else f"; it continues from where the job stopped, {moment:%Y-%m-%d %H:%M:%S}Z"


def _by(reason: str) -> Actor:
    return Actor(who=_AUTHOR, via="resource", reason=reason)


def _row(item: Declared) -> Any:
    metadata = item.resource.metadata
    owner = owner_of(cluster=_CLUSTER, namespace=metadata.namespace, name=metadata.name, uid=item.file)
    if isinstance(item.resource, PikoSchedule):
        return schedule_row(item.resource, owner=owner)
    return replace(config_row(item.resource, owner=owner), updated_by=_AUTHOR)
