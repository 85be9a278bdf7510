"""Where runs go with every replica running: one window of a backlog stays with a leader that is idle."""

from __future__ import annotations

from datetime import timedelta

import pytest

from piko.catalog.assessed_rows import AssessedRows
from piko.core.types import RunState
from piko.decisions.placement import Anywhere, Here
from tests.scheduler.making import NOON


@pytest.mark.parametrize(
    ("chained", "idle", "state"),
    [
        (True, True, RunState.RUNNING),
        (True, False, RunState.QUEUED),
        (False, True, RunState.QUEUED),
        (False, False, RunState.QUEUED),
    ],
)
def test_a_window_of_a_backlog_stays_with_an_idle_leader(chained: bool, idle: bool, state: RunState) -> None:
    placement = Anywhere(
        rows=AssessedRows(),
        revision=lambda *_: None,
        here=Here(instance_id="leader"),
        idle=lambda: idle,
        keeps=lambda _: False,
    )
    where = placement.where("windows", NOON, chained=chained)
    assert where["state"] is state
    assert where["instance_id"] == ("leader" if state is RunState.RUNNING else None)


def test_of_several_backlogs_that_are_due_together_one_stays_and_the_others_are_spread() -> None:
    placement = Anywhere(
        rows=AssessedRows(),
        revision=lambda *_: None,
        here=Here(instance_id="leader"),
        idle=lambda: True,
        keeps=lambda _: False,
    )
    found = [placement.where(f"chain-{number}", NOON, chained=True)["state"] for number in range(4)]
    assert found == [RunState.RUNNING, *[RunState.QUEUED] * 3]
    later = placement.where("chain-0", NOON + timedelta(seconds=1), chained=True)
    assert later["state"] is RunState.RUNNING
