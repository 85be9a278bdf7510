"""Statements that name many keys: the right rows, and few texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Select, select

from piko.store.engine import Database
from piko.store.keyed import _text, execute_keyed
from piko.store.schema.tables.states import job_state
from piko.store.states import StateStore
from tests.store.making import lead, make_state


def jobs(keys: Sequence[str]) -> Select[Any]:
    return select(job_state.c.job_id).where(job_state.c.job_id.in_(keys)).order_by(job_state.c.job_id)


async def named(store: Database, keys: Sequence[str]) -> list[str]:
    async with store.statements() as connection:
        return [row.job_id for row in await execute_keyed(connection, jobs, keys)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9])
async def test_each_key_is_found_once_however_many_there_are(store: Database, count: int) -> None:
    keys = [f"job-{number}" for number in range(count)]
    await StateStore(database=store).write([make_state(key) for key in (*keys, "other")], await lead(store))
    assert await named(store, [*keys, "unknown"]) == keys


async def test_lists_of_like_length_share_one_text(store: Database) -> None:
    await named(store, ["job"] * 5)
    before = _text.cache_info().misses
    for length in (6, 7, 8):
        await named(store, ["job"] * length)
    assert _text.cache_info().misses == before
