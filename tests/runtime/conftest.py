from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.databases import TestDatabase, migrate
from tests.harness.programs import PikoProcessFactory
from tests.runtime.replicas import Replicas


@pytest.fixture
def replicas(piko_process: PikoProcessFactory, tmp_path: Path) -> Replicas:
    """Replicas of `APP` in a folder of their own."""
    folder = tmp_path / "app"
    folder.mkdir()
    starter = Replicas(start_process=piko_process, folder=folder)
    starter.write()
    return starter


@pytest.fixture
async def migrated_mariadb(mariadb: TestDatabase) -> TestDatabase:
    """MariaDB with Piko's tables. What a database does differently is tested below the level of processes."""
    return await migrate(mariadb)
