"""Column types that mean the same on MySQL, MariaDB and SQLite.

Python sees aware UTC datetimes, the database stores UTC without a zone: an `Instant` column converts
in both directions and refuses a naive datetime, whose zone would be a guess.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Dialect, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

MYSQL_FAMILY = ("mysql", "mariadb")


class Instant(TypeDecorator[datetime]):
    """A UTC instant with microseconds; `auto_utc` stores UTC whatever the zone of the writing session."""

    impl = DateTime
    cache_ok = True

    def __init__(self, *, auto_utc: bool = False) -> None:
        super().__init__()
        self.auto_utc = auto_utc

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        if dialect.name in MYSQL_FAMILY:
            kind = mysql.TIMESTAMP(fsp=6) if self.auto_utc else mysql.DATETIME(fsp=6)
            return dialect.type_descriptor(kind)
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(
                f"a stored instant must be aware, got the naive {value!r}; attach its zone first"
            )
        if value.tzinfo is UTC:
            return value  # drivers write its fields and no zone; taking it off costs more than they do
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


JOB_ID = String(128).with_variant(mysql.VARCHAR(128, charset="ascii", collation="ascii_bin"), *MYSQL_FAMILY)
"""1 to 128 of `A-Z a-z 0-9 _ . : -`, compared byte by byte."""

KEY = String(64).with_variant(mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), *MYSQL_FAMILY)
"""An identity that Piko makes: run, instance, claim token, content hash."""

TRACEPARENT = String(55).with_variant(
    mysql.VARCHAR(55, charset="ascii", collation="ascii_bin"), *MYSQL_FAMILY
)
"""A traceparent of W3C Trace Context, version 00."""

INSTANT = Instant()
"""An instant that Python or a person writes, in UTC."""

STAMP = Instant(auto_utc=True)
"""An instant that the database fills in, right whatever the zone of the writing session."""

JSON_TEXT = Text().with_variant(mysql.MEDIUMTEXT(), *MYSQL_FAMILY)
"""JSON kept as it was written; a CHECK refuses what does not parse."""

LONG_TEXT = Text().with_variant(mysql.MEDIUMTEXT(), *MYSQL_FAMILY)


Moment = datetime | ColumnElement[datetime]
"""An instant in a condition: a value, or a parameter of a statement that is made once."""


class Now(FunctionElement[datetime]):
    """The database's own clock: as a column default, or in a statement."""

    type = STAMP
    inherit_cache = True


class NowOnWrite(FunctionElement[datetime]):
    """As `Now`, and moved by each UPDATE (on SQLite by a trigger, see the migrations)."""

    type = STAMP
    inherit_cache = True


class SecondsAfter(FunctionElement[datetime]):
    """`SecondsAfter(instant, seconds)`: the instant that many whole seconds later."""

    type = INSTANT
    inherit_cache = True


class SecondsFromNow(FunctionElement[datetime]):
    """`SecondsFromNow(seconds)`: by the database's own clock, that many seconds and parts of one later."""

    type = STAMP
    inherit_cache = True


SQLITE_NOW = "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"


@compiles(Now)
def _now(_element: Now, _compiler: SQLCompiler, **_: object) -> str:
    return "CURRENT_TIMESTAMP(6)"


@compiles(NowOnWrite)
def _now_on_write(_element: NowOnWrite, _compiler: SQLCompiler, **_: object) -> str:
    return "CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"


@compiles(Now, "sqlite")
@compiles(NowOnWrite, "sqlite")
def _now_sqlite(_element: FunctionElement[datetime], _compiler: SQLCompiler, **_: object) -> str:
    return SQLITE_NOW


@compiles(SecondsFromNow)
def _seconds_from_now(element: SecondsFromNow, compiler: SQLCompiler, **how: Any) -> str:
    (seconds,) = (compiler.process(clause, **how) for clause in element.clauses)
    return f"TIMESTAMPADD(MICROSECOND, ROUND(1000000 * {seconds}), CURRENT_TIMESTAMP(6))"


@compiles(SecondsFromNow, "sqlite")
def _seconds_from_now_on_sqlite(element: SecondsFromNow, compiler: SQLCompiler, **how: Any) -> str:
    (seconds,) = (compiler.process(clause, **how) for clause in element.clauses)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%.6f seconds', {seconds}))"


@compiles(SecondsAfter)
def _seconds_after(element: SecondsAfter, compiler: SQLCompiler, **how: Any) -> str:
    instant, seconds = (compiler.process(clause, **how) for clause in element.clauses)
    return f"TIMESTAMPADD(SECOND, FLOOR({seconds}), {instant})"


@compiles(SecondsAfter, "sqlite")
def _seconds_after_on_sqlite(element: SecondsAfter, compiler: SQLCompiler, **how: Any) -> str:
    instant, seconds = (compiler.process(clause, **how) for clause in element.clauses)
    return f"strftime('%Y-%m-%d %H:%M:%f', {instant}, CAST({seconds} AS INTEGER) || ' seconds')"
