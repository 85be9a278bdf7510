"""The statements that a test's database is sent by this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import Engine

from tests.harness.databases import TestDatabase


@contextmanager
def sent_to(database: TestDatabase, *, of: str = "") -> Iterator[list[tuple[str, Any]]]:
    """Each statement that holds the text `of`, with its parameters, as it is sent while the block lasts.

    To `database` alone: a site that other tests look at may be served by this process, too. What opens a
    connection is left out.
    """
    sent: list[tuple[str, Any]] = []
    name = make_url(database.dsn).database

    def note(connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if connection.engine.url.database == name and of in statement:
            sent.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)
