"""CHECK constraints: what they refuse, under a name that says what is wrong.

The name is what a person reads at a SQL prompt. A CHECK passes NULL; where a value is needed, NOT NULL says
so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from sqlalchemy import CheckConstraint

from piko.model.columns import MAX_SECONDS
from piko.store.schema.dialects import is_sqlite_instant, on_mysql, on_sqlite

MAX_BIGINT = 2**63 - 1
_NO_JOB_ID_CHARACTER = "[^A-Za-z0-9_.:-]"


def one_of(column: str, values: Iterable[StrEnum | str], name: str) -> CheckConstraint:
    """`column` is one of `values`, in exactly this spelling."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def boolean(column: str) -> CheckConstraint:
    """`column` is 0 or 1."""
    return CheckConstraint(f"{column} IN (0, 1)", name=f"{column}_is_0_or_1")


def between(column: str, low: int, high: int, name: str) -> CheckConstraint:
    """`column` is a number from `low` to `high`."""
    # The upper bound is also what refuses text in a number's place on SQLite, where text is the larger.
    return CheckConstraint(f"{column} BETWEEN {low} AND {high}", name=name)


def positive_seconds(column: str, name: str) -> CheckConstraint:
    """`column` is a duration longer than nothing."""
    return CheckConstraint(f"{column} > 0 AND {column} <= {MAX_SECONDS}", name=name)


def not_empty(column: str) -> CheckConstraint:
    """`column` is not the empty text."""
    return CheckConstraint(f"{column} <> ''", name=f"{column}_is_not_empty")


def json(column: str) -> CheckConstraint:
    """`column` parses as JSON."""
    # SQLite before 3.45 says of NULL that it is no JSON, where the others say NULL, which passes.
    return CheckConstraint(f"{column} IS NULL OR json_valid({column})", name=f"{column}_is_json")


def json_object(column: str) -> CheckConstraint:
    """`column`, if it is JSON, is an object."""
    # What is no JSON at all is for the constraint that says so; MySQL would stop here with another error.
    return CheckConstraint(
        f"lower(json_type(CASE WHEN json_valid({column}) THEN {column} ELSE '{{}}' END)) = 'object'",
        name=f"{column}_is_an_object",
    )


def job_id(prefix: str = "") -> Iterator[CheckConstraint]:
    """`job_id` has the form of a job's id."""
    name = f"{prefix}job_id_has_only_allowed_characters"
    yield CheckConstraint("length(job_id) BETWEEN 1 AND 128", name=f"{prefix}job_id_is_1_to_128_characters")
    yield on_mysql(CheckConstraint(f"job_id NOT REGEXP '{_NO_JOB_ID_CHARACTER}'", name=name))
    yield on_sqlite(CheckConstraint(f"job_id NOT GLOB '*{_NO_JOB_ID_CHARACTER}*'", name=name))


def managed_by(prefix: str = "") -> CheckConstraint:
    """`managed_by` names an owner."""
    return CheckConstraint(
        "managed_by LIKE '_%/_%/_%/_%'", name=f"{prefix}managed_by_is_cluster_namespace_name_uid"
    )


def instants(*columns: str) -> Iterator[CheckConstraint]:
    """`columns` are instants that every driver can read."""
    for column in columns:
        name = f"{column}_is_an_instant"
        yield on_mysql(CheckConstraint(f"{column} >= '1000-01-01'", name=name))
        yield on_sqlite(CheckConstraint(is_sqlite_instant(column), name=name))


def stamps() -> Iterator[CheckConstraint]:
    """As `instants`, for the two that the database fills in."""
    for column in ("created_at", "updated_at"):
        yield on_sqlite(CheckConstraint(is_sqlite_instant(column), name=f"{column}_is_an_instant"))
