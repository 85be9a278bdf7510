"""Which runs in progress nobody will end, as a leader judges it from where it stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from piko.core.types import RunState
from piko.decisions.orphans import Vantage, orphans, unbegun
from piko.model.instances import StartMark
from tests.store.making import NOW, make_run

VANTAGE = Vantage(
    instance_id="here", epoch=5, leads_for_s=60.0, lease_s=15.0, may_judge_silence=True, fetches=False
)
FELL = "its session lock fell, and it gave no sign of life"
LIVING = {"here": 0, "there": 3}


@pytest.mark.parametrize(
    ("instance_id", "epoch", "changes", "why"),
    [
        ("dead", 4, {}, "its instance dead has ended"),
        ("dead", 4, {"may_judge_silence": False}, None),
        ("there", 4, {}, None),
        ("there", 4, {"dead": {"there"}}, f"its instance there has crashed: {FELL}"),
        (
            "there",
            4,
            {"dead": {"there"}, "may_judge_silence": False},
            f"its instance there has crashed: {FELL}",
        ),
        ("here", 5, {"dead": {"there"}}, None),
        ("there", 3, {}, "its instance there lost leadership and can no longer record it"),
        ("there", 3, {"leads_for_s": 1.0}, None),
        ("here", 5, {}, None),
        ("here", 4, {}, "its instance began it under another leadership, and does not run it"),
        ("here", 4, {"fetches": True}, None),
    ],
)
def test_a_run_is_given_up_where_nobody_is_left_to_end_it(
    instance_id: str, epoch: int, changes: dict[str, object], why: str | None
) -> None:
    run = make_run(state=RunState.RUNNING, instance_id=instance_id, epoch=epoch)
    vantage = replace(VANTAGE, **changes)  # type: ignore[arg-type]

    found = orphans([run], living=LIVING, seen_before=(), vantage=vantage)

    assert found == ([] if why is None else [(run, why)])


def test_a_run_of_this_replica_that_it_does_not_know_is_given_up_when_it_is_seen_twice() -> None:
    run = make_run(state=RunState.RUNNING, instance_id="here", epoch=5)

    assert orphans([run], living=LIVING, seen_before=(), vantage=VANTAGE) == []
    assert len(orphans([run], living=LIVING, seen_before={run.run_id}, vantage=VANTAGE)) == 1


@pytest.mark.parametrize(
    ("instance_id", "epoch", "mark", "waits"),
    [
        ("here", 4, StartMark(starts_until=None, fenced_epoch=None), True),
        ("here", 4, StartMark(starts_until=NOW, fenced_epoch=None), False),
        ("here", 5, StartMark(starts_until=None, fenced_epoch=None), False),
        ("there", 4, StartMark(starts_until=None, fenced_epoch=None), False),
        ("there", 4, StartMark(starts_until=None, fenced_epoch=4), True),
        ("there", 4, StartMark(starts_until=NOW, fenced_epoch=4), False),
        ("there", 4, StartMark(starts_until=NOW - timedelta(seconds=1), fenced_epoch=4), True),
        ("there", 4, StartMark(starts_until=None, fenced_epoch=None, stopped=True), True),
    ],
)
def test_what_was_claimed_ahead_waits_again_where_it_cannot_begin(
    instance_id: str, epoch: int, mark: StartMark, waits: bool
) -> None:
    """On the leader itself, too, which may have lost its lease and have got it back with nobody between."""
    run = make_run(state=RunState.RUNNING, instance_id=instance_id, epoch=epoch, starts_at=NOW)
    found = unbegun([run], {instance_id: mark}, instance_id="here", epoch=5)
    assert found == ([run] if waits else [])
