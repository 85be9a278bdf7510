from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from piko.store.engine import Database
from piko.store.leases import LeaseStore
from piko.store.runs import RunStore
from tests.harness.databases import TestDatabase
from tests.store.making import opened


@pytest.fixture
async def store(emptied_database: TestDatabase) -> AsyncIterator[Database]:
    """Piko's engines over tables without a row, on each kind of database."""
    async with opened(emptied_database) as database:
        yield database


@pytest.fixture
def leases(store: Database) -> LeaseStore:
    return LeaseStore(database=store)


@pytest.fixture
def runs(store: Database) -> RunStore:
    return RunStore(database=store)
