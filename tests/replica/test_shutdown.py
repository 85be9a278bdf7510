"""The table of steps with which a replica stops, and what happens to a step that fails or hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from piko.background.supervisor import Supervisor
from piko.replica.shutdown import StopStep, steps, take
from tests.harness.waiting import PATIENCE_S
from tests.replica.composing import composed

TABLE = [
    ("finish the claim", 5.0),
    ("end scheduler", None),
    ("end elector", None),
    ("record outcomes first", 0.3),
    ("hand leadership over", 5.0),
    ("drain handlers", None),
    ("drain sinks", None),
    ("end writer", None),
    ("record outcomes", 5.0),
    ("note refused records", 5.0),
    ("sign off", 5.0),
]
FETCHING = [("finish the fetch", 5.0), ("end fetcher", None)]


@pytest.mark.parametrize(
    ("executor", "table"), [("leader", TABLE), ("replicas", [*TABLE[:2], *FETCHING, *TABLE[2:]])]
)
async def test_a_replica_stops_in_this_order_within_these_budgets(
    executor: str, table: list[tuple[str, float | None]], tmp_path: Path
) -> None:
    parts = composed(tmp_path, executor=executor)
    try:
        supervisor = Supervisor(restarts=parts.metrics.part_restarts)
        assert [(step.what, step.within_s) for step in steps(parts, supervisor=supervisor)] == table
    finally:
        await parts.closing.close()


async def test_every_step_has_its_turn_whatever_others_come_to() -> None:
    taken: list[str] = []

    async def good() -> None:
        taken.append("good")

    async def fails() -> None:
        taken.append("fails")
        raise ValueError("no")

    async def hangs() -> None:
        taken.append("hangs")
        await asyncio.Event().wait()

    table = [
        StopStep(what="one", do=fails, otherwise="one_failed"),
        StopStep(what="two", do=hangs, within_s=0.01, otherwise="two_hung"),
        StopStep(what="three", do=fails, within_s=60, otherwise="three_failed"),
        StopStep(what="four", do=good),
    ]
    with capture_logs() as logged:
        await asyncio.wait_for(take(table), timeout=PATIENCE_S)

    assert taken == ["fails", "hangs", "fails", "good"]
    said = [(item["event"], item["step"], item["error"]) for item in logged]
    assert said == [
        ("one_failed", "one", "ValueError: no"),
        ("two_hung", "two", "no answer in time"),
        ("three_failed", "three", "ValueError: no"),
    ]


async def test_a_stop_that_is_cancelled_takes_no_further_step() -> None:
    begun, taken = asyncio.Event(), []

    async def hangs() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def good() -> None:
        taken.append("good")

    stopping = asyncio.create_task(
        take([StopStep(what="one", do=hangs, within_s=60), StopStep(what="two", do=good)])
    )
    await begun.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert not taken
