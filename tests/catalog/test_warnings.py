"""What of a row is probably not meant so: it fires, and the message says it."""

from __future__ import annotations

from piko.core.types import JobStatus
from tests.scheduler.leading import Leader
from tests.scheduler.making import at, row


def test_a_jitter_longer_than_the_interval_is_said_beside_the_status() -> None:
    leader = Leader(row(expression={"seconds": 60}, jitter_s=120.0))

    state = leader.state()
    assert state.status == JobStatus.SCHEDULED
    assert (state.message or "").startswith("jitter_s = 120 is longer than the 60 s between instants")
    leader.put(row(expression={"seconds": 60}, jitter_s=30.0, updated_at=at("12:00:01")), at("12:00:01"))
    assert leader.state().message is None


def test_a_stateful_job_coalesces_nothing_and_is_not_warned() -> None:
    leader = Leader(row(expression={"seconds": 60}, jitter_s=120.0), stateful={"job"})

    assert leader.state().message is None


def test_a_jitter_that_mixes_up_a_multitude_makes_the_row_invalid() -> None:
    leader = Leader(row(expression={"seconds": 0.1}, jitter_s=86_400.0))

    assert leader.state().status == JobStatus.INVALID
    assert "coalesce = 0" in (leader.state().message or "")
