"""Statements that name many keys.

SQLAlchemy works out the text of an `IN` list each time that it is executed, which for hundreds of keys takes
longer than the database does. On the paths of each batch the text is made once for each length, lengths are
powers of two, and a shorter list repeats its last key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import CursorResult, Dialect, Select, Update
from sqlalchemy.ext.asyncio import AsyncConnection

Keyed = Callable[[Sequence[str]], Select[Any] | Update]
"""A module's function: the statement for some keys, which are the last of its bound values."""


async def execute_keyed(
    connection: AsyncConnection, statement: Keyed, keys: Sequence[str], *, before: Sequence[object] = ()
) -> CursorResult[Any]:
    """Execute `statement` for `keys`, of which there is at least one.

    `before` are the values that are bound before the keys. The rows are as the driver gives them: an instant
    has no zone, see `piko.store.column_types`.
    """
    length = 1 << (len(keys) - 1).bit_length()
    sql = _text(statement, length, len(before), connection.dialect)
    padding = [keys[-1]] * (length - len(keys))
    return await connection.exec_driver_sql(sql, (*before, *keys, *padding))


@lru_cache(maxsize=256)
def _text(statement: Keyed, length: int, before: int, dialect: Dialect) -> str:
    compiled: Any = statement([""] * length).compile(
        dialect=dialect, compile_kwargs={"render_postcompile": True}
    )
    bound = len(compiled.positiontup)
    assert bound == before + length, f"{bound} values are bound, not {before} and {length} keys"
    return str(compiled)
