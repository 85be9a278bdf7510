from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.core.types import BackfillPolicy, DataInterval
from piko.schedule import start_offset
from piko.scheduler import due
from piko.scheduler.due import Due, Span, decide, decide_window
from piko.scheduler.plan import PlannedJob
from tests.scheduler.making import NOON, at, planned, seconds


def spans(decision: Due) -> dict[str, tuple[datetime, datetime, int]]:
    """What is recorded as passed over, by kind."""
    named = (("missed", decision.missed), ("coalesced", decision.coalesced))
    return {name: (span.first, span.through, span.count) for name, span in named if span is not None}


# ---- stateless jobs ---------------------------------------------------------------------------------


def test_nothing_is_due_between_two_instants() -> None:
    decision = decide(planned(), cursor=at("12:00:00"), now=at("12:00:09"))

    assert decision == Due(run=())


def test_the_one_instant_that_is_due_runs() -> None:
    decision = decide(planned(), cursor=at("12:00:00"), now=at("12:00:10"))

    assert decision == Due(run=(at("12:00:10"),), through=at("12:00:10"))


def test_of_several_instants_the_latest_runs_and_the_others_are_recorded() -> None:
    decision = decide(planned(), cursor=at("12:00:00"), now=at("12:00:45"))

    assert decision.run == (at("12:00:40"),)
    assert spans(decision) == {"coalesced": (at("12:00:10"), at("12:00:30"), 3)}


def test_without_coalescing_each_instant_runs() -> None:
    decision = decide(planned(coalesce=False), cursor=at("12:00:00"), now=at("12:00:30"))

    assert decision.run == (at("12:00:10"), at("12:00:20"), at("12:00:30"))
    assert spans(decision) == {}


def test_what_is_older_than_the_grace_is_recorded_as_missed() -> None:
    job = planned(misfire_grace_s=15.0, coalesce=False)
    decision = decide(job, cursor=at("12:00:00"), now=at("12:00:55"))

    assert decision.run == (at("12:00:40"), at("12:00:50"))
    assert spans(decision) == {"missed": (at("12:00:10"), at("12:00:30"), 3)}
    assert decision.missed is not None
    assert decision.missed.reason == "older than misfire_grace_s = 15"


def test_an_instant_that_is_exactly_as_old_as_the_grace_still_runs() -> None:
    decision = decide(planned(misfire_grace_s=15.0), cursor=at("12:00:00"), now=at("12:00:25"))

    assert decision.run == (at("12:00:20"),)
    assert spans(decision) == {"coalesced": (at("12:00:10"), at("12:00:10"), 1)}


def test_a_grace_of_nothing_leaves_time_for_the_claim_itself() -> None:
    job = planned(misfire_grace_s=0.0)

    assert decide(job, cursor=at("12:00:00"), now=at("12:00:10.200")).run == (at("12:00:10"),)
    assert spans(decide(job, cursor=at("12:00:00"), now=at("12:00:12"))) == {
        "missed": (at("12:00:10"), at("12:00:10"), 1)
    }


def test_a_day_away_from_a_schedule_of_each_second_is_one_span() -> None:
    job = planned({"seconds": 1}, misfire_grace_s=60.0)
    decision = decide(job, cursor=NOON - timedelta(days=1), now=NOON)

    assert decision.run == (NOON,)
    assert decision.missed is not None
    assert decision.coalesced is not None
    assert decision.missed.count + decision.coalesced.count + 1 == 86_400


def test_a_cron_of_each_second_is_counted_roughly_after_a_long_absence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due, "COUNTED", 100)
    decision = decide(planned("* * * * * *"), cursor=NOON - timedelta(hours=2), now=NOON)

    assert decision.missed is not None
    assert decision.missed.count == pytest.approx(7_200 - 300, rel=0.02)
    assert "counted roughly" in decision.missed.reason


def test_a_long_row_of_instants_that_all_run_is_decided_in_parts() -> None:
    job = planned({"seconds": 1}, coalesce=False, misfire_grace_s=1e12)
    first = decide(job, cursor=NOON - seconds(1500), now=NOON)
    assert first.through is not None
    second = decide(job, cursor=first.through, now=NOON)

    assert len(first.run) == due.AT_ONCE
    assert len(second.run) == 500
    assert second.run[0] == first.run[-1] + seconds(1)


def test_jitter_holds_an_instant_back_until_its_own_moment() -> None:
    job = planned({"minutes": 1}, jitter_s=30.0)
    instant = at("12:01:00")
    moment = instant + start_offset(job_id="job", scheduled_time=instant, jitter_s=30.0)

    assert decide(job, cursor=NOON, now=moment - timedelta(microseconds=1)) == Due(run=())
    assert decide(job, cursor=NOON, now=moment) == Due(run=(instant,), through=instant)


def test_an_instant_that_jitter_held_back_is_not_late_for_that() -> None:
    job = planned({"minutes": 1}, jitter_s=30.0, misfire_grace_s=1.0)
    instant = at("12:01:00")
    moment = instant + start_offset(job_id="job", scheduled_time=instant, jitter_s=30.0)

    assert decide(job, cursor=NOON, now=moment).run == (instant,)


schedules = st.sampled_from(
    [{"seconds": 10}, {"seconds": 7, "start_date": "2026-03-02T11:59:58Z"}, "*/2 * * * *", "30 */3 * * * *"]
)
ages = st.integers(0, 3_000).map(seconds)
jitters = st.sampled_from([0.0, 0.0, 4.0, 45.0])


@given(schedules, ages, st.lists(ages, min_size=1, max_size=5), st.floats(0, 900), st.booleans(), jitters)
def test_every_instant_is_accounted_for_exactly_once(
    expression: object, age: timedelta, gaps: list[timedelta], grace: float, coalesce: bool, jitter: float
) -> None:
    job = planned(expression, misfire_grace_s=grace, coalesce=coalesce, jitter_s=jitter)
    start = cursor = NOON - age
    now = NOON
    accounted: list[datetime] = []
    for gap in gaps:
        now += gap
        decision = decide(job, cursor=cursor, now=now)
        parts: list[datetime] = []
        for span in (decision.missed, decision.coalesced):
            if span is not None:
                inside = list(job.schedule.between(span.first - timedelta(microseconds=1), span.through))
                assert (inside[0], inside[-1], len(inside)) == (span.first, span.through, span.count)
                parts += inside
        parts += decision.run
        assert all(instant + seconds(jitter) >= now - seconds(max(grace, 1.0)) for instant in decision.run)
        assert not coalesce or len(decision.run) <= 1
        assert decision.through == (parts[-1] if parts else None)
        accounted += parts
        cursor = decision.through or cursor

    assert accounted == list(job.schedule.between(start, cursor))
    # What is left is held back by jitter and by nothing else.
    assert not any(instant + seconds(jitter) <= now for instant in job.schedule.between(cursor, now))


# ---- stateful jobs ----------------------------------------------------------------------------------


def window(start: str, end: str) -> DataInterval:
    return DataInterval(start=at(start), end=at(end))


def hourly(**values: object) -> PlannedJob:
    return planned("0 * * * *", stateful=True, **values)  # type: ignore[arg-type]


def test_the_first_window_is_the_last_full_one() -> None:
    decision = decide_window(hourly(), watermark=None, now=at("12:30:00"))

    assert decision.window == window("11:00:00", "12:00:00")
    assert decision.watermark == at("11:00:00")
    assert (decision.missed, decision.skipped, decision.catching_up) == (None, None, False)


def test_the_first_window_of_a_schedule_with_a_beginning_reaches_back_before_it() -> None:
    decision = decide_window(hourly(start_at=NOON), watermark=None, now=at("12:30:00"))

    assert decision.window == window("11:00:00", "12:00:00")


def test_nothing_is_due_until_the_window_is_full() -> None:
    assert decide_window(hourly(), watermark=NOON, now=at("12:59:59")).window is None


def test_a_watermark_that_lies_ahead_leaves_nothing_due() -> None:
    assert decide_window(hourly(), watermark=at("20:00:00"), now=at("13:00:00")).window is None


def test_catching_up_begins_with_the_oldest_window() -> None:
    decision = decide_window(hourly(), watermark=at("08:00:00"), now=at("12:30:00"))

    assert decision.window == window("08:00:00", "09:00:00")
    assert decision.catching_up
    assert decision.missed is None


def test_a_window_begins_at_the_watermark_wherever_that_is() -> None:
    decision = decide_window(hourly(), watermark=at("11:20:00"), now=at("12:30:00"))

    assert decision.window == window("11:20:00", "12:00:00")


def test_what_lies_beyond_the_number_of_windows_is_missed() -> None:
    decision = decide_window(hourly(backfill_max_windows=2), watermark=at("06:20:00"), now=at("12:30:00"))

    assert decision.window == window("10:00:00", "11:00:00")
    assert decision.watermark == at("10:00:00")
    assert decision.missed == Span(
        first=at("07:00:00"), through=at("10:00:00"), count=4, reason="beyond backfill_max_windows = 2"
    )


def test_what_lies_beyond_the_lookback_is_missed() -> None:
    decision = decide_window(hourly(max_lookback_s=7200.0), watermark=at("06:00:00"), now=at("12:30:00"))

    assert decision.window == window("10:00:00", "11:00:00")
    assert decision.missed is not None
    assert decision.missed.count == 4
    assert "max_lookback_s = 7200" in decision.missed.reason


def test_no_bound_takes_away_the_newest_window() -> None:
    decision = decide_window(hourly(max_lookback_s=1.0), watermark=at("06:00:00"), now=at("12:30:00"))

    assert decision.window == window("11:00:00", "12:00:00")
    assert not decision.catching_up


def test_skip_runs_the_latest_window_and_records_the_jump() -> None:
    decision = decide_window(hourly(policy=BackfillPolicy.SKIP), watermark=at("06:00:00"), now=at("12:30:00"))

    assert decision.window == window("11:00:00", "12:00:00")
    assert decision.watermark == at("11:00:00")
    assert decision.missed is None
    assert decision.skipped is not None
    assert (decision.skipped.first, decision.skipped.through, decision.skipped.count) == (
        at("07:00:00"),
        at("11:00:00"),
        5,
    )
    assert not decision.catching_up


def test_years_of_backlog_are_decided_at_once() -> None:
    job = planned({"seconds": 1}, stateful=True)
    decision = decide_window(job, watermark=NOON - timedelta(days=3650), now=NOON)

    assert decision.window == DataInterval(start=NOON - seconds(100), end=NOON - seconds(99))
    assert decision.missed is not None
    assert decision.missed.count == 3650 * 86_400 - 100


marks = st.integers(0, 20_000).map(seconds)
bounds = st.tuples(st.one_of(st.none(), st.floats(1, 20_000)), st.integers(1, 60))


@given(schedules, marks, st.sampled_from(BackfillPolicy), bounds)
def test_windows_are_contiguous_and_each_is_run_or_recorded(
    expression: object, age: timedelta, policy: BackfillPolicy, bound: tuple[float | None, int]
) -> None:
    job = planned(
        expression, stateful=True, policy=policy, max_lookback_s=bound[0], backfill_max_windows=bound[1]
    )
    watermark = NOON - age
    ends: list[datetime] = []
    edges = list(job.schedule.between(watermark, NOON))
    while (decision := decide_window(job, watermark=watermark, now=NOON)).window is not None:
        passed = decision.missed or decision.skipped
        if passed is not None:
            assert passed.first > watermark
            assert passed.through == decision.watermark
            inside = list(job.schedule.between(watermark, passed.through))
            assert len(inside) == passed.count
            ends += inside
        else:
            assert decision.watermark == watermark
        assert decision.window.start == decision.watermark
        ends.append(decision.window.end)
        watermark = decision.window.end

    assert ends == edges
