from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from piko.decisions import due
from piko.decisions.due import Due, decide
from piko.schedule import start_offset
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


def test_a_cron_of_each_second_is_counted_exactly_however_long_the_absence() -> None:
    cursor = datetime(1000, 1, 1, tzinfo=UTC)
    decision = decide(planned("* * * * * *"), cursor=cursor, now=NOON)

    assert decision.missed is not None
    first = datetime(1970, 1, 1, tzinfo=UTC)
    assert decision.missed.first == first
    assert decision.missed.count == (decision.missed.through - first) // timedelta(seconds=1) + 1


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
