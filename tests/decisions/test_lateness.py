from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from piko.core.types import DataInterval, RunState, TriggerType
from piko.decisions.lateness import overdue, too_late
from piko.model.runs import Run
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, definition, planned, seconds

RUN = Run(run_id="run", job_id="job", scheduled_time=NOON, state=RunState.QUEUED)
JOB = planned(misfire_grace_s=60.0, jitter_s=5.0)


@pytest.mark.parametrize(
    ("changes", "after", "late"),
    [
        ({}, 65.0, False),
        ({}, 65.1, True),
        ({"trigger_type": TriggerType.RETRY}, 1e6, False),
        ({"trigger_type": TriggerType.MANUAL}, 1e6, False),
        ({"trigger_type": TriggerType.BACKFILL, "backfill_id": "b"}, 1e6, False),
        ({"window": DataInterval(start=NOON - seconds(10), end=NOON)}, 1e6, False),
        ({"trigger_type": TriggerType.CATCH_UP}, 1e6, False),
    ],
)
def test_the_grace_holds_for_what_a_clock_has_asked_for(
    changes: dict[str, Any], after: float, late: bool
) -> None:
    why = too_late(replace(RUN, **changes), JOB, NOON + seconds(after))

    assert (why is not None) is late
    assert not late or "misfire_grace_s = 60" in str(why)


def test_a_run_left_in_the_queue_by_a_stop_is_missed_and_keeps_nobody_out() -> None:
    leader = Leader(definitions=[definition("first"), definition("second")], places=1)
    leader.write("first", {"hours": 1}, priority=1)
    leader.write("second", {"hours": 1}, misfire_grace_s=60.0)
    leader.until(at("13:00:00"))
    assert [run.job_id for run in leader.waiting()] == ["second"]
    leader.now = at("13:59:59")
    leader.end_next()
    leader.away(seconds(1))
    ((late, _),) = overdue(leader.progress.waiting.values(), leader.rows, leader.now)
    assert (late.job_id, late.scheduled_time) == ("second", at("13:00:00"))
    leader.work()

    assert leader.ended[late.run_id] is RunState.MISSED
    assert leader.started("second") == []
    assert [run.scheduled_time for run in leader.running() + leader.waiting() if run.job_id == "second"] == [
        at("14:00:00")
    ]
