"""What follows from how a run ended, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from piko.core.types import FINAL_STATES, RunState, TriggerType
from piko.decisions.ends import next_attempt
from piko.execution.outcome import Ending, conclude
from piko.model.fences import Fence
from piko.model.watermarks import WatermarkMove
from tests.scheduler.making import planned
from tests.store.making import NOW, make_run, make_window_run, minute

SUCCESS, FAILED, TIMEOUT, CANCELLED, LOST = (
    RunState.SUCCESS,
    RunState.FAILED,
    RunState.TIMEOUT,
    RunState.CANCELLED,
    RunState.LOST,
)


def make_ending(state: RunState, *, run: Any = None, max_attempts: int = 3, **values: Any) -> Ending:
    return Ending(
        **{
            "run": run or make_run(),
            "job": planned(max_attempts=max_attempts, retry_backoff_s=10.0, retry_max_backoff_s=25.0),
            "fence": Fence(name="default", epoch=1),
            "state": state,
            "started_at": NOW,
            "finished_at": NOW + timedelta(seconds=2),
            "duration_s": 2.0,
            **values,
        }
    )


# ---- the next attempt -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "attempt", "max_attempts", "delay_s"),
    [
        (FAILED, 1, 3, 10),
        (FAILED, 2, 3, 20),
        (TIMEOUT, 1, 3, 10),
        (FAILED, 3, 9, 25),  # the longest pause
        (FAILED, 99, 200, 25),
        (LOST, 1, 3, 0),  # it was nobody's fault
        (LOST, 2, 3, 0),
        (FAILED, 3, 3, None),
        (LOST, 3, 3, None),
        (FAILED, 7, 3, None),  # a window that was claimed again has used its attempts up
        (FAILED, 1, 1, None),
        (SUCCESS, 1, 3, None),
        (CANCELLED, 1, 3, None),
        (RunState.SKIPPED, 1, 3, None),
        (RunState.MISSED, 1, 3, None),
    ],
)
def test_an_attempt_follows_where_one_is_left(
    state: RunState, attempt: int, max_attempts: int, delay_s: float | None
) -> None:
    run = make_window_run(attempt=attempt, priority=4, epoch=1)
    job = planned(max_attempts=max_attempts, retry_backoff_s=10.0, retry_max_backoff_s=25.0)
    retry = next_attempt(run, job, state=state, now=NOW, new_id=lambda: "next")
    if delay_s is None:
        assert retry is None
        return
    assert retry == replace(
        run,
        run_id="next",
        state=RunState.QUEUED,
        attempt=attempt + 1,
        trigger_type=TriggerType.RETRY,
        not_before=NOW + timedelta(seconds=delay_s),
        instance_id=None,
        epoch=None,
    )


@pytest.mark.parametrize("trigger", TriggerType)
def test_a_retry_of_a_backfill_stays_a_backfill(trigger: TriggerType) -> None:
    retry = next_attempt(
        make_run(trigger_type=trigger), planned(max_attempts=2), state=FAILED, now=NOW, new_id=lambda: "next"
    )
    assert retry is not None
    expected = TriggerType.BACKFILL if trigger is TriggerType.BACKFILL else TriggerType.RETRY
    assert retry.trigger_type is expected


# ---- the record -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "by_shutdown", "attempt_after", "pause_s"),
    [
        (SUCCESS, False, None, None),
        (SUCCESS, True, None, None),  # it finished in spite of the stop
        (FAILED, False, 3, 20),
        (TIMEOUT, False, 3, 20),
        (TIMEOUT, True, 3, 20),  # it was out of time before the stop
        (CANCELLED, False, None, None),
        (CANCELLED, True, 2, 0),  # cut by a stop: the same attempt again, at once
    ],
)
def test_what_a_stop_cuts_costs_no_attempt(
    state: RunState, by_shutdown: bool, attempt_after: int | None, pause_s: float | None
) -> None:
    ending = make_ending(state, run=make_run(attempt=2), by_shutdown=by_shutdown)
    retry = conclude(ending, new_id=lambda: "next").retry
    assert (None if retry is None else retry.attempt) == attempt_after
    if retry is not None and pause_s is not None:
        assert retry.not_before == ending.finished_at + timedelta(seconds=pause_s)


@pytest.mark.parametrize("state", [SUCCESS, FAILED, TIMEOUT, CANCELLED])
@pytest.mark.parametrize("trigger", TriggerType)
def test_only_the_success_of_a_window_moves_the_watermark_and_no_backfill_does(
    state: RunState, trigger: TriggerType
) -> None:
    moves = state is SUCCESS and trigger is not TriggerType.BACKFILL
    expected = WatermarkMove(job_id="windows", old=minute(0), new=minute(1)) if moves else None
    ending = make_ending(state, run=make_window_run(trigger_type=trigger))
    assert conclude(ending, new_id=lambda: "next").watermark == expected


def test_a_run_without_a_window_moves_no_watermark() -> None:
    assert conclude(make_ending(SUCCESS), new_id=lambda: "next").watermark is None


def test_a_record_holds_what_the_handlers_end_reported() -> None:
    ending = make_ending(FAILED, config_revision=4, error_type="ValueError", error="no")
    outcome = conclude(ending, new_id=lambda: "next")
    for name in (
        *("run", "state", "started_at", "finished_at", "duration_s"),
        *("config_revision", "error_type", "error"),
    ):
        assert getattr(outcome, name) == getattr(ending, name)


def test_every_final_state_has_a_place_in_these_tables() -> None:
    assert {SUCCESS, FAILED, TIMEOUT, CANCELLED, LOST, RunState.SKIPPED, RunState.MISSED} == FINAL_STATES
