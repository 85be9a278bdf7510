"""Runs of a term: what waits, what is in progress, and what has had its turn."""

from __future__ import annotations

from piko.core.types import RunState
from piko.decisions.open_runs import OpenRuns
from tests.store.making import make_run


def test_a_retry_that_began_before_its_outcome_was_known_to_be_recorded_does_not_wait_again() -> None:
    progress = OpenRuns()
    retry = make_run(state=RunState.QUEUED, attempt=2)
    progress.enqueue([retry])
    progress.begin(retry)
    progress.wait(retry)
    assert not progress.waiting, "it is in progress"

    progress.end(retry.run_id)
    progress.wait(retry)
    assert not progress.waiting, "its end is on its way to the database"


def test_a_run_of_which_nothing_is_known_waits() -> None:
    progress = OpenRuns()
    retry = make_run(state=RunState.QUEUED, attempt=2)
    progress.wait(retry)
    assert list(progress.waiting) == [retry.run_id]
