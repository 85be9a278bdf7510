"""Whole tables, a page at a time, as plain values.

Decoding a row takes the client some microseconds, in which nothing else of its event loop runs; so tables are
read in pages. A replica reads all of its schedules before it is ready: here the values of a column are made
together, each different one once, in a third of the time that SQLAlchemy takes for a row. Equal values are
one object, so that a hundred thousand schedules with the same options share them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Dialect, String, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

PAGE = 500
_MOST_SHARED = 10_000
"""Different values of a column of which one object each is kept."""

Values = tuple[Any, ...]
"""Of a row, in the order of the columns that were asked for."""


class PageReader:
    """Reads `columns` of all rows of their table, in the order of `job_id`, which is among them and its key.

    What it shares between pages it keeps, up to a bound.
    """

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        self._columns = tuple(columns)
        self._key = next(number for number, column in enumerate(columns) if column.name == "job_id")
        self._shared: list[dict[Hashable, Any]] = [{} for _ in columns]

    async def page(self, connection: AsyncConnection, *, after: str) -> Sequence[Values]:
        """At most `PAGE` rows that follow the job `after`; the first ones follow ""."""
        statement = _prepare(self._columns, connection.dialect)
        rows = (await connection.exec_driver_sql(statement.sql, statement.bound(after))).all()
        if not rows:
            return []
        columns = zip(*rows, strict=True)
        return list(zip(*map(self._made, range(len(self._columns)), columns, statement.makers), strict=True))

    async def pages(self, connection: AsyncConnection) -> AsyncIterator[Sequence[Values]]:
        """All rows."""
        after = ""
        while page := await self.page(connection, after=after):
            yield page
            if len(page) < PAGE:
                return
            after = page[-1][self._key]

    def _made(self, number: int, values: Sequence[Any], make: _Make | None) -> Sequence[Any]:
        """The values of a column, of what the driver gives for them."""
        if number == self._key:
            return values
        shared = self._shared[number]
        if len(shared) > _MOST_SHARED:
            shared.clear()
        if make is None:
            return [shared.setdefault(value, value) for value in values]
        made = {value: make(value) for value in set(values)}
        made = {value: shared.setdefault(found, found) for value, found in made.items()}
        return [made[value] for value in values]


_Make = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Statement:
    """A page as the driver takes it, and what makes a value of each column; None: it is one."""

    sql: str
    values: Sequence[object]
    """What is bound, in order; None: the job that the page follows."""
    makers: Sequence[_Make | None]

    def bound(self, after: str) -> tuple[object, ...]:
        return tuple(after if value is None else value for value in self.values)


@lru_cache(maxsize=64)
def _prepare(columns: tuple[Column[Any], ...], dialect: Dialect) -> _Statement:
    key = next(column for column in columns if column.name == "job_id")
    following = select(*columns).where(key > bindparam("after", type_=String()))
    page: Any = following.order_by(key).limit(PAGE).compile(dialect=dialect)
    makers = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
    return _Statement(str(page), [page.params[name] for name in page.positiontup], makers)
