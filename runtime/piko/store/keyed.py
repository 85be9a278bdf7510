"""Statements that name many keys.

SQLAlchemy works out the text of an `IN` list each time that it is executed, which for hundreds of keys takes
longer than the database does. On the paths of each batch the text is made once for each length, lengths are
powers of two, and a shorter list repeats its last key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import CursorResult, Dialect, Select, Update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.store.schema.column_types import INSTANT

Keyed = Callable[[Sequence[str]], Select[Any] | Update]
"""A module's function: the statement for some keys, which are the last of its bound values."""


async def execute_keyed(
    connection: AsyncConnection, statement: Keyed, keys: Sequence[str], *, before: Sequence[object] = ()
) -> CursorResult[Any]:
    """Execute `statement` for `keys`, of which there is at least one.

    `before` are the values that are bound before the keys. They and the rows are as the driver has them: see
    `bound_instant` and `instant_reader`.
    """
    length = 1 << (len(keys) - 1).bit_length()
    sql = _text(statement, length, len(before), connection.dialect)
    padding = [keys[-1]] * (length - len(keys))
    return await connection.exec_driver_sql(sql, (*before, *keys, *padding))


def instant_reader(dialect: Dialect) -> Callable[[Any], Any]:
    """What makes an instant of the value that the driver gives for it."""
    return INSTANT.dialect_impl(dialect).result_processor(dialect, None) or _as_it_is


def bound_instant(dialect: Dialect, moment: datetime) -> object:
    """`moment` as the driver takes it."""
    bind = INSTANT.dialect_impl(dialect).bind_processor(dialect) or _as_it_is
    return bind(moment)


def _as_it_is(value: Any) -> Any:
    return value


@lru_cache(maxsize=256)
def _text(statement: Keyed, length: int, before: int, dialect: Dialect) -> str:
    compiled: Any = statement([""] * length).compile(
        dialect=dialect, compile_kwargs={"render_postcompile": True}
    )
    bound = len(compiled.positiontup)
    assert bound == before + length, f"{bound} values are bound, not {before} and {length} keys"
    return str(compiled)
