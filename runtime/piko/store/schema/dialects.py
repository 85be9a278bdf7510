"""What each database needs so that a row means the same on all of them.

MySQL types its instants and moves `updated_at` by itself. SQLite keeps whatever text it is given and compares
it as text, so that `2026-01-08 10:00:00` and `2026-01-08 10:00:00.000000` would be two instants, and a typing
error one that no driver can read. There a CHECK refuses what is no instant in UTC, and triggers complete
what a person wrote without (all) microseconds and move `updated_at` with each UPDATE, always forward, so
that two edits within one tick of the clock still differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sqlalchemy import DDL, CheckConstraint, Table, event
from sqlalchemy.sql.schema import HasConditionalDDL

from piko.store.schema.column_types import MYSQL_FAMILY, SQLITE_NOW

C = TypeVar("C", bound=HasConditionalDDL)

_TRIGGERS = "piko_sqlite_triggers"


def on_mysql(item: C) -> C:
    """`item` on MySQL and MariaDB only."""
    return item.ddl_if(dialect=MYSQL_FAMILY)  # type: ignore[arg-type]  # a tuple is documented, not typed


def on_sqlite(item: C) -> C:
    """`item` on SQLite only."""
    return item.ddl_if(dialect="sqlite")


def checks_on(table: Table, dialect: str) -> list[CheckConstraint]:
    """The CHECK constraints that `table` has on `dialect`, by name."""
    checks = [item for item in table.constraints if isinstance(item, CheckConstraint)]
    return sorted((item for item in checks if _is_on(item, dialect)), key=lambda item: str(item.name))


def _is_on(check: CheckConstraint, dialect: str) -> bool:
    dialects = None if check._ddl_if is None else check._ddl_if.dialect
    return not dialects or dialect in dialects


def is_sqlite_instant(column: str) -> str:
    """A condition: `YYYY-MM-DD HH:MM:SS`, alone or with milliseconds or microseconds, and a real date."""
    return (
        f"{column} IS NULL OR (length({column}) IN (19, 23, 26) AND {column} NOT GLOB '*[^0-9 :.-]*' "
        f"AND substr({column}, 1, 4) >= '1000' "
        f"AND substr({column}, 20, 1) IN ('', '.') AND substr({column}, 21) NOT GLOB '*[^0-9]*' "
        # The modifier makes SQLite reckon: without it February has 31 days.
        f"AND coalesce(datetime(substr({column}, 1, 19), '+0 days') = substr({column}, 1, 19), 0))"
    )


def triggers_on_sqlite(table: Table, *, instants: Sequence[str] = ()) -> None:
    """Make `table` on SQLite move `updated_at`, and complete `instants` to microseconds."""
    triggers = dict(_triggers(table.name, instants))
    table.info[_TRIGGERS] = triggers
    for statement in triggers.values():
        ddl = DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
        event.listen(table, "after_create", ddl.execute_if(dialect="sqlite"))


def sqlite_triggers(table: Table) -> dict[str, str]:
    """The triggers that `table` has on SQLite: name and statement."""
    return dict(table.info.get(_TRIGGERS, {}))


def _triggers(table: str, instants: Sequence[str]) -> Iterator[tuple[str, str]]:
    completed = [f"{column} = {_completed(column)}" for column in instants]
    incomplete = [f"length(NEW.{column}) < 26" for column in instants]
    if instants:
        yield _trigger(f"{table}_complete_instants", "INSERT", table, incomplete, completed)
    # With recursive triggers on, the condition is what ends the recursion.
    condition = ["NEW.updated_at IS OLD.updated_at", *incomplete]
    yield _trigger(
        f"{table}_move_updated_at", "UPDATE", table, condition, [*completed, f"updated_at = {_MOVED}"]
    )


def _trigger(
    name: str, after: str, table: str, condition: Sequence[str], assignments: Sequence[str]
) -> tuple[str, str]:
    change = f"UPDATE {table} SET {', '.join(assignments)} WHERE job_id = NEW.job_id"  # noqa: S608
    when = " OR ".join(condition)
    return (
        name,
        f"CREATE TRIGGER {name} AFTER {after} ON {table} FOR EACH ROW WHEN {when} BEGIN {change}; END",
    )


def _completed(column: str) -> str:
    return f"substr({column} || substr('.000000', length({column}) - 18), 1, 26)"


# The clock ticks milliseconds; within one tick the last three digits count. An UPDATE that says what
# updated_at shall be is obeyed.
_MOVED = (
    "CASE WHEN NEW.updated_at IS NOT OLD.updated_at THEN NEW.updated_at "
    f"WHEN {SQLITE_NOW} > OLD.updated_at THEN {SQLITE_NOW} "
    "ELSE substr(OLD.updated_at, 1, 23) || printf('%03d', min(999, substr(OLD.updated_at, 24) + 1)) END"
)
