"""What makes a database refuse the rows of one job: a trigger of somebody's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.harness.databases import TestDatabase

WORDS = "not while I watch"


@asynccontextmanager
async def refusing(
    database: TestDatabase, event: str, table: str, *, job_id: str = "bad", also: str = "1 = 1"
) -> AsyncIterator[None]:
    """Refuse `event` (INSERT, UPDATE, DELETE) on rows of `job_id` in `table`, where `also` holds of them."""
    row = "OLD" if event == "DELETE" else "NEW"
    condition = f"{row}.job_id = '{job_id}' AND {also}"
    name = f"poison_{table}_{event.lower()}"
    head = f"CREATE TRIGGER {name} BEFORE {event} ON {table}"
    if database.kind == "sqlite":
        await database.execute(f"{head} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{WORDS}'); END")
    else:
        await database.execute(
            f"{head} FOR EACH ROW IF {condition} THEN "
            f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{WORDS}'; END IF"
        )
    try:
        yield
    finally:
        await database.execute(f"DROP TRIGGER {name}")
