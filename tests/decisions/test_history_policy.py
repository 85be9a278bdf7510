"""Which runs are kept and which locks can go: against an oracle that sorts, and case by case."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.decisions import history_policy as history
from piko.decisions.history_policy import MARGIN, SETTLED, HistoryPolicy, prunable_locks
from piko.model.retention import EndedRow, JobFacts, ScheduleFacts
from tests.scheduler.making import NOON

AGE_S = 86_400.0
HOUR = timedelta(hours=1)


def schedule(**values: object) -> ScheduleFacts:
    facts: dict[str, object] = {
        "history_successful": 3,
        "history_failed": 2,
        "misfire_grace_s": 300.0,
        "jitter_s": 0.0,
        "last_data_time": None,
        **values,
    }
    return ScheduleFacts(**facts)  # type: ignore[arg-type]


def kept_by_sorting(job: JobFacts, runs: list[EndedRow], now: datetime, *, age_s: float = AGE_S) -> set[str]:
    """The rules said in another way: all runs at once, the newest first."""
    kept: set[str] = set()
    seen: dict[tuple[str | None, bool], int] = {}
    for run in sorted(runs, key=lambda item: (item.ended_at, item.run_id), reverse=True):
        protected = (
            run.run_id == job.last_run_id
            or now - run.ended_at <= SETTLED
            or run.backfill_id in job.open_backfills
        )
        ages = job.schedule is None or run.backfill_id is not None
        if ages and now - run.ended_at > timedelta(seconds=age_s):
            if protected:
                kept.add(run.run_id)
            continue
        if job.schedule is None:
            most = history.KEPT_WITHOUT_ROW
        else:
            most = job.schedule.history_successful if run.succeeded else job.schedule.history_failed
        kind = (run.backfill_id, run.succeeded)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= most or protected:
            kept.add(run.run_id)
    return kept


ENDED = st.builds(
    lambda number, minutes_ago, due, succeeded, backfill_id: EndedRow(
        run_id=f"{number:04}",
        scheduled_time=NOON - due * HOUR,
        succeeded=succeeded,
        ended_at=NOON - timedelta(minutes=minutes_ago),
        backfill_id=backfill_id,
    ),
    st.integers(0, 9999),
    st.sampled_from([0, 5, 10, 11, 60, 600, 1439, 1441, 5000]),
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from([None, None, None, "open", "over"]),
)


@given(
    runs=st.lists(ENDED, max_size=60, unique_by=lambda run: run.run_id),
    successful=st.integers(0, 5),
    failed=st.integers(0, 5),
    has_row=st.booleans(),
    last=st.integers(0, 59),
)
def test_those_are_pruned_that_an_oracle_does_not_keep(
    runs: list[EndedRow], successful: int, failed: int, has_row: bool, last: int
) -> None:
    job = JobFacts(
        job_id="job",
        schedule=schedule(history_successful=successful, history_failed=failed) if has_row else None,
        last_run_id=runs[last].run_id if last < len(runs) else None,
        open_backfills=frozenset({"open"}),
    )
    keeping = HistoryPolicy(job, now=NOON, max_age_s=AGE_S)
    pruned = [doomed.run_id for run in runs for doomed in keeping.show(run)]
    assert len(pruned) == len(set(pruned))
    assert {run.run_id for run in runs} - set(pruned) == kept_by_sorting(job, runs, NOON)


def test_a_number_too_large_to_count_keeps_all_and_remembers_none() -> None:
    job = JobFacts(job_id="job", schedule=schedule(history_successful=history.COUNTED + 1))
    keeping = HistoryPolicy(job, now=NOON, max_age_s=AGE_S)
    for number in range(10):
        run = EndedRow(
            run_id=str(number), scheduled_time=NOON, succeeded=True, ended_at=NOON - timedelta(days=900)
        )
        assert list(keeping.show(run)) == []
    assert not any(keeping._newest.values())


WEEK_AGO = NOON - timedelta(days=7)


@pytest.mark.parametrize(
    ("job", "through"),
    [
        pytest.param(
            JobFacts(job_id="job", schedule=None), NOON - timedelta(seconds=AGE_S), id="no row: by age"
        ),
        pytest.param(JobFacts(job_id="job", schedule=schedule()), None, id="no cursor: none"),
        pytest.param(
            JobFacts(job_id="job", schedule=schedule(), cursor_at=WEEK_AGO),
            WEEK_AGO - MARGIN,
            id="the cursor",
        ),
        pytest.param(
            JobFacts(
                job_id="job", schedule=schedule(misfire_grace_s=7200.0, jitter_s=3600.0), cursor_at=NOON
            ),
            NOON - 3 * HOUR - MARGIN,
            id="what is within grace and jitter stays",
        ),
        pytest.param(
            JobFacts(job_id="job", schedule=schedule(misfire_grace_s=1e30), cursor_at=NOON),
            NOON - timedelta(days=36_525) - MARGIN,
            id="a grace beyond the calendar",
        ),
        pytest.param(
            JobFacts(job_id="job", schedule=schedule(last_data_time=WEEK_AGO), cursor_at=NOON, stateful=True),
            WEEK_AGO - MARGIN,
            id="the watermark",
        ),
        pytest.param(
            JobFacts(job_id="job", schedule=schedule(), cursor_at=NOON, stateful=True),
            None,
            id="no watermark yet: none",
        ),
    ],
)
def test_locks_go_up_to_what_nothing_claims_again(job: JobFacts, through: datetime | None) -> None:
    assert prunable_locks(job, now=NOON, max_age_s=AGE_S) == through
