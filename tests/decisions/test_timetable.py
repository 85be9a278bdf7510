from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from piko.decisions.timetable import Timetable
from tests.scheduler.making import NOON, seconds

JOBS = ("a", "b", "c", "d")
steps = st.lists(
    st.tuples(st.sampled_from(JOBS), st.one_of(st.none(), st.integers(0, 50)), st.booleans()), max_size=60
)


def take(timetable: Timetable, now: datetime, most: int = 100) -> list[str]:
    return timetable.take_due(now, most=most, priority=lambda _: 0)


def test_jobs_come_due_earliest_first_and_leave() -> None:
    timetable = Timetable()
    timetable.put("late", NOON + seconds(2))
    timetable.put("early", NOON)
    timetable.put("future", NOON + seconds(9))

    assert take(timetable, NOON + seconds(2)) == ["early", "late"]
    assert take(timetable, NOON + seconds(2)) == []
    assert (len(timetable), timetable.earliest()) == (1, NOON + seconds(9))


def test_a_newer_entry_replaces_the_older_one() -> None:
    timetable = Timetable()
    timetable.put("job", NOON)
    timetable.put("job", NOON + seconds(5))

    assert take(timetable, NOON + seconds(4)) == []
    assert take(timetable, NOON + seconds(5)) == ["job"]


def test_a_job_that_is_taken_out_does_not_come_due() -> None:
    timetable = Timetable()
    timetable.put("job", NOON)
    timetable.put("job", None)

    assert timetable.earliest() is None
    assert take(timetable, NOON) == []


def test_an_entry_that_moves_away_and_back_comes_due_once() -> None:
    timetable = Timetable()
    for moment in (NOON, NOON + seconds(5), NOON):
        timetable.put("job", moment)

    assert take(timetable, NOON + seconds(9)) == ["job"]


def test_entries_that_are_replaced_over_and_over_take_no_room() -> None:
    timetable = Timetable()
    for number in range(10_000):
        timetable.put("job", NOON + seconds(number))

    assert len(timetable._heap) < 200
    assert timetable.earliest() == NOON + seconds(9_999)


@given(st.lists(st.tuples(st.sampled_from(JOBS), st.one_of(st.none(), st.integers(0, 9)))), st.integers(0, 9))
def test_what_comes_by_an_instant_is_found_once_each(
    steps: list[tuple[str, int | None]], before: int
) -> None:
    timetable = Timetable()
    for job_id, second in steps:
        timetable.put(job_id, None if second is None else NOON + seconds(second))

    last = dict(steps)
    wanted = [job_id for job_id, second in last.items() if second is not None and second <= before]
    assert sorted(timetable.coming(NOON + seconds(before))) == sorted(wanted)


def test_what_is_not_taken_yet_stays_due_and_the_highest_priority_goes_first() -> None:
    timetable = Timetable()
    for number, job_id in enumerate(("low", "high", "middle", "also high")):
        timetable.put(job_id, NOON + seconds(number))
    priorities = {"high": 9, "also high": 9, "middle": 5, "low": 0}

    def two() -> list[str]:
        return timetable.take_due(NOON + seconds(9), most=2, priority=priorities.__getitem__)

    assert two() == ["high", "also high"]
    assert len(timetable) == 2
    assert timetable.earliest() in (NOON, NOON + seconds(2))
    timetable.put("low", NOON + seconds(20))
    assert two() == ["middle"]
    assert timetable.earliest() == NOON + seconds(20)


@given(steps)
def test_a_timetable_is_a_dictionary_that_knows_its_earliest(
    changes: list[tuple[str, int | None, bool]],
) -> None:
    timetable, oracle = Timetable(), dict[str, datetime]()
    for job_id, offset, look in changes:
        moment = None if offset is None else NOON + seconds(offset)
        timetable.put(job_id, moment)
        if moment is None:
            oracle.pop(job_id, None)
        else:
            oracle[job_id] = moment
        if look:
            now = NOON + seconds(25)
            due = sorted((at, job) for job, at in oracle.items() if at <= now)
            assert take(timetable, now) == [job for _, job in due]
            oracle = {job: at for job, at in oracle.items() if at > now}
        assert timetable.earliest() == min(oracle.values(), default=None)
        assert len(timetable) == len(oracle)
