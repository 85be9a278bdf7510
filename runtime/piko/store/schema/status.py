"""Which schema a database has, compared with the one that this release knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, inspect, select

from piko.errors import SchemaVersionError
from piko.store.schema.migrations.version_table import VERSION_TABLE, version_table
from piko.store.schema.release import release_of, revisions
from piko.store.schema.tables import metadata


class SchemaState(StrEnum):
    """How a database's schema relates to the one this release knows."""

    CURRENT = "current"
    EMPTY = "empty"
    BEHIND = "behind"
    AHEAD = "ahead"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """What was found. `message` is for a person: what, where, found, expected, remedy."""

    state: SchemaState
    where: str
    revision: str | None
    expected: str
    differences: Sequence[str] = ()

    @property
    def usable(self) -> bool:
        """Whether this release can work: a newer schema only adds, a drifted one may do."""
        return self.state not in (SchemaState.EMPTY, SchemaState.BEHIND)

    @property
    def message(self) -> str:
        match self.state:
            case SchemaState.CURRENT:
                return f"the schema of {self.where} is at revision {self.revision}, as this release expects"
            case SchemaState.EMPTY:
                return (
                    f"the database {self.where} has none of Piko's tables, this release expects revision "
                    f"{self.expected}; run `piko db upgrade`"
                )
            case SchemaState.BEHIND:
                return (
                    f"the schema of {self.where} is at revision {self.revision or '(none yet)'}, this "
                    f"release expects {self.expected}; run `piko db upgrade`"
                )
            case SchemaState.AHEAD:
                return (
                    f"the schema of {self.where} is at revision {self.revision}, which is newer than "
                    f"{self.expected}, the last that this release knows; it goes on with what it knows: "
                    f"deploy a release >= {release_of(self.revision)}"
                )
            case SchemaState.DRIFTED:
                return (
                    f"the schema of {self.where} is at revision {self.revision}, as expected, but its tables "
                    f"are not what that revision made: {'; '.join(self.differences)}; put them right by "
                    "hand, `piko db dump` shows what is expected"
                )

    def require_usable(self) -> None:
        """Raises `SchemaVersionError` with `message` where this release cannot work."""
        if not self.usable:
            raise SchemaVersionError(self.message)


def state_at(revision: str) -> SchemaState:
    """What a revision alone says."""
    known = revisions()
    if revision == known[-1]:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if revision in known else SchemaState.AHEAD


def read_status(connection: Connection, *, compare_tables: bool = True) -> SchemaStatus:
    """What the database says. Without `compare_tables` its revision alone decides."""
    inspector = inspect(connection)
    revision = None
    if inspector.has_table(VERSION_TABLE):
        revision = connection.execute(select(version_table.c.version_num)).scalar_one_or_none()
    found: Sequence[str] = ()
    if revision is None:
        present = set(inspector.get_table_names()) & set(metadata.tables)
        state = SchemaState.BEHIND if present else SchemaState.EMPTY
    else:
        state = state_at(revision)
        if state is SchemaState.CURRENT and compare_tables:
            from piko.store.schema.comparison import differences

            found = differences(connection)
            state = SchemaState.DRIFTED if found else state
    return SchemaStatus(
        state=state,
        where=connection.engine.url.render_as_string(hide_password=True),
        revision=revision,
        expected=revisions()[-1],
        differences=found,
    )
