"""A checksum over columns of a row, computed by the database: it changes when one of them does.

A reader that only has to know whether a row was edited thus reads a number and not its content.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

_ON_SQLITE = "piko_checksum"


class Checksum(FunctionElement[int]):
    """`Checksum(*columns)`: 32 bits. Only two of the same database compare."""

    type = BigInteger()
    inherit_cache = True


@compiles(Checksum)
def _checksum(element: Checksum, compiler: SQLCompiler, **how: Any) -> str:
    # Column by column, so that a NULL counts, and no long text has to fit into a packet with the others.
    each = (f"COALESCE(CRC32({compiler.process(clause, **how)}), '')" for clause in element.clauses)
    return f"CRC32(CONCAT_WS(',', {', '.join(each)}))"


@compiles(Checksum, "sqlite")
def _checksum_on_sqlite(element: Checksum, compiler: SQLCompiler, **how: Any) -> str:
    each = (compiler.process(clause, **how) for clause in element.clauses)
    return f"{_ON_SQLITE}({', '.join(each)})"


def add_checksum(connection: Any) -> None:
    """Give a connection to SQLite, which has no checksum, the function that `Checksum` calls."""
    connection.create_function(_ON_SQLITE, -1, _over, deterministic=True)


def _over(*values: object) -> int:
    return crc32(repr(values).encode())
