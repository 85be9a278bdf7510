"""`Timeline`: the decisions of a real leader, on virtual time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from piko import JobContext, PikoApp
from piko.errors import InputError, ManifestError
from piko.testing import Timeline, TimelineRun

START = datetime(2026, 3, 1, tzinfo=UTC)
SCHEDULE = """
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: sync}
spec: {jobId: sync, schedule: {cron: "0 * * * *"}, retry: {maxAttempts: 2, backoff: 1m}}
"""


@pytest.fixture
def app() -> PikoApp:
    made = PikoApp("trial")

    @made.job(stateful=True)
    async def sync(ctx: JobContext, scheduled_time: datetime) -> None: ...

    @made.job(timeout_s=90)
    async def ping(ctx: JobContext, scheduled_time: datetime) -> None: ...

    return made


def ends(runs: list[TimelineRun]) -> list[tuple[str, int]]:
    return [(run.state.value, run.attempt) for run in runs]


def test_windows_run_one_after_the_other_at_their_due_times(app: PikoApp) -> None:
    timeline = Timeline(app, SCHEDULE, start=START)
    timeline.advance(hours=2, minutes=30)
    first, second = timeline.runs("sync")
    assert first.window is not None
    assert second.window is not None
    assert (first.started_at, first.window.end) == (START + timedelta(hours=1),) * 2
    assert first.window.end == second.window.start
    assert timeline.watermark("sync") == START + timedelta(hours=2)
    assert (timeline.next_run("sync"), timeline.status("sync")) == (START + timedelta(hours=3), "Scheduled")


def test_a_window_that_waited_is_skipped_where_somebody_moved_the_watermark_meanwhile(app: PikoApp) -> None:
    @app.job
    async def long(ctx: JobContext, scheduled_time: datetime) -> None: ...

    timeline = Timeline(app, start=START)
    timeline.schedule("long", {"cron": "30 0 * * *"}, concurrency_group="g", concurrency_limit=1)
    timeline.schedule("sync", {"cron": "0 * * * *"}, concurrency_group="g", concurrency_limit=1)
    timeline.takes("long", timedelta(hours=1))
    timeline.advance(hours=1, minutes=10)
    assert ends(timeline.runs("sync")) == [("QUEUED", 1)]
    back = START - timedelta(hours=1)
    timeline.set_watermark("sync", back)
    timeline.advance(minutes=30)
    runs = [(run.window.start, run.state, run.attempt) for run in timeline.runs("sync") if run.window]
    assert runs == [(back, "SUCCESS", 1), (START, "SKIPPED", 1), (START, "SUCCESS", 2)]
    assert timeline.watermark("sync") == START + timedelta(hours=1)


def hours_of_berlin(app: PikoApp, start: datetime, *, days: int) -> list[timedelta]:
    """How long the windows of an hourly job are in these days."""
    timeline = Timeline(app, start=start, timezone="Europe/Berlin")
    timeline.schedule("sync", {"cron": "0 * * * *"})
    timeline.advance(days=days)
    windows = [run.window for run in timeline.runs("sync", state="SUCCESS")]
    return [window.duration for window in windows if window is not None]


@pytest.mark.parametrize("change", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])
def test_every_hour_comes_once_over_a_change_of_the_clocks(app: PikoApp, change: datetime) -> None:
    assert hours_of_berlin(app, change - timedelta(days=1), days=3) == [timedelta(hours=1)] * 72


@pytest.mark.usefixtures("slow")
def test_a_year_of_hours_has_every_hour_once_over_both_changes_of_the_clocks(app: PikoApp) -> None:
    assert hours_of_berlin(app, datetime(2026, 1, 1, tzinfo=UTC), days=365) == [timedelta(hours=1)] * 365 * 24


def test_failures_are_retried_and_hold_the_watermark(app: PikoApp) -> None:
    timeline = Timeline(app, SCHEDULE, start=START)
    timeline.fail("sync", at=START + timedelta(hours=1))
    timeline.advance(minutes=90)
    assert ends(timeline.runs("sync")) == [("FAILED", 1), ("FAILED", 2)]
    assert timeline.watermark("sync") in (None, START)


def test_a_killed_leader_loses_its_runs_and_they_run_again(app: PikoApp) -> None:
    timeline = Timeline(app, SCHEDULE, start=START)
    timeline.takes("sync", timedelta(minutes=10))
    timeline.advance(minutes=65)
    timeline.kill_leader()
    timeline.advance(minutes=30)
    assert ends(timeline.runs("sync")) == [("LOST", 1), ("SUCCESS", 2)]
    assert timeline.watermark("sync") == START + timedelta(hours=1)


def test_the_next_leader_goes_on_at_the_watermark_of_the_one_that_died(app: PikoApp) -> None:
    timeline = Timeline(app, start=START)
    timeline.schedule("sync", {"cron": "0 * * * *"})
    timeline.takes("sync", timedelta(minutes=10))
    timeline.advance(hours=2, minutes=5)
    timeline.kill_leader()
    timeline.advance(hours=1, minutes=30)
    assert ends(timeline.runs("sync")) == [("SUCCESS", 1), ("LOST", 1), ("SUCCESS", 2), ("SUCCESS", 1)]


def test_a_window_that_has_failed_comes_again_at_each_due_time_until_it_succeeds(app: PikoApp) -> None:
    timeline = Timeline(app, start=START)
    timeline.schedule("sync", {"cron": "0 * * * *"})
    timeline.fail("sync", times=3)
    timeline.advance(hours=4)
    first = [run for run in timeline.runs("sync") if run.scheduled_time == START + timedelta(hours=1)]
    assert ends(first) == [("FAILED", 1), ("FAILED", 2), ("FAILED", 3), ("SUCCESS", 4)]
    assert timeline.watermark("sync") == timeline.now


def test_a_run_takes_as_long_as_was_said_when_it_started(app: PikoApp) -> None:
    timeline = Timeline(app, start=START)
    timeline.schedule("ping", {"interval": {"every": "10m"}})
    timeline.takes("ping", timedelta(minutes=5))
    timeline.advance(minutes=11)
    timeline.takes("ping", timedelta(0))
    timeline.advance(minutes=1)
    assert ends(timeline.runs("ping")) == [("TIMEOUT", 1)]


def test_an_edit_and_a_pause_count_from_their_moment(app: PikoApp) -> None:
    timeline = Timeline(app, SCHEDULE, start=START)
    timeline.edit("sync", enabled=False)
    timeline.advance(hours=2)
    assert timeline.runs("sync") == []
    assert timeline.status("sync") == "Disabled"
    timeline.edit("sync", enabled=True, schedule={"cron": "30 * * * *"})
    timeline.advance(hours=1)
    assert {run.scheduled_time.minute for run in timeline.runs("sync")} == {30}


def test_a_run_that_takes_longer_than_its_timeout_is_ended(app: PikoApp) -> None:
    timeline = Timeline(app, start=START)
    timeline.schedule("ping", {"interval": {"every": "10m"}})
    timeline.takes("ping", timedelta(minutes=5))
    timeline.advance(minutes=13)
    (run,) = timeline.runs("ping")
    assert (run.state, run.started_at, run.ended_at) == (
        "TIMEOUT",
        START + timedelta(minutes=10),
        START + timedelta(minutes=11, seconds=30),
    )


def test_due_times_that_are_passed_over_are_shown_with_the_reason(app: PikoApp) -> None:
    timeline = Timeline(app, start=START)
    timeline.schedule("ping", {"interval": {"every": "1m"}}, timeout_s=150)
    timeline.takes("ping", timedelta(minutes=5))
    timeline.advance(minutes=3)
    skipped = timeline.runs("ping", state="SKIPPED")
    assert [(run.count, run.started_at) for run in skipped] == [(1, None)] * len(skipped) != []
    assert all(run.reason for run in skipped)


def test_a_run_that_is_replaced_ends_as_cancelled(app: PikoApp) -> None:
    timeline = Timeline(app, start=START)
    timeline.schedule("ping", {"interval": {"every": "1m"}}, overlap_policy="replace")
    timeline.takes("ping", timedelta(minutes=5))
    timeline.advance(minutes=2)
    assert ends(timeline.runs("ping")) == [("CANCELLED", 1), ("RUNNING", 1)]


def test_what_cannot_be_used_is_an_error_at_once(app: PikoApp) -> None:
    with pytest.raises(ManifestError, match="line"):
        Timeline(app, SCHEDULE.replace("cron", "corn"), start=START)
    with pytest.raises(InputError, match="no replica has registered the job 'other'"):
        Timeline(app, SCHEDULE.replace("jobId: sync", "jobId: other"), start=START)
    timeline = Timeline(app, SCHEDULE, start=START)
    with pytest.raises(InputError, match="scheduled_job has no column 'enable' to edit; it has schedule"):
        timeline.edit("sync", enable=False)
    with pytest.raises(InputError, match="has passed; it is 2026-03-01"):
        timeline.advance(until="2026-02-01T00:00Z")
    with pytest.raises(InputError, match="expected one of a duration"):
        timeline.advance()
    with pytest.raises(InputError, match="job 'snyc' has no schedule here"):
        timeline.fail("snyc")
