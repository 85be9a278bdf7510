"""A `Timeline` does what the real runtime does."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.harness.databases import migrate, sqlite_database
from tests.testing.histories import History, histories
from tests.testing.worlds import by_runtime, by_timeline

pytestmark = pytest.mark.usefixtures("slow")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of SQLite with Piko's tables and nothing in them."""
    folder = tmp_path_factory.mktemp("tables")
    asyncio.run(migrate(sqlite_database(folder)))
    return folder / "piko.db"


# The same histories each time; one takes about a second, so that a failure is shown as it was found.
@seed(2)
@settings(
    max_examples=100,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(history=histories())
def test_on_random_histories_a_timeline_equals_the_real_runtime(history: History, tables: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with TemporaryDirectory(dir=tables.parent) as folder:
        real = by_runtime(history, tables=tables, folder=Path(folder))
    shown = by_timeline(history)
    assert shown.runs == real.runs
    assert shown.watermarks == real.watermarks
    assert shown.statuses == real.statuses
