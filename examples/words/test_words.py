"""A test of the count, without a server: `pytest examples/words`."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from app import app
from piko.testing import run_job


def test_the_commonest_words_are_kept() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as results:
        results.execute("CREATE TABLE words (word TEXT PRIMARY KEY, times INTEGER NOT NULL)")
        run = run_job(app, "count_words", config={"top": 2}, resources={"results": results})
        assert run.succeeded, run.error
        assert results.execute("SELECT count(*) FROM words").fetchone() == (2,)
