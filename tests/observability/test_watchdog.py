"""The watchdog: it names who blocks the loop, once, and blames nobody for a process that was stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from piko.clock import SystemClock
from piko.observability.metrics import Metrics
from piko.observability.watchdog import Blockage, Watchdog, run_name
from tests.harness.waiting import wait_until, wait_until_async


def make_watchdog(metrics: Metrics, blocked_after_s: float = 0.1) -> Watchdog:
    return Watchdog(clock=SystemClock(), metrics=metrics, blocked_after_s=blocked_after_s)


def blocked(metrics: Metrics, job_id: str) -> float | None:
    return metrics.registry.get_sample_value("piko_event_loop_blocked_total", {"job_id": job_id})


async def test_the_run_that_blocks_is_named_once_however_long_it_takes() -> None:
    metrics = Metrics()
    seen: list[Blockage] = []
    began = time.monotonic()

    async def handler() -> None:
        seen.append(_block(watchdog, job_id="job"))
        time.sleep(0.2)  # noqa: ASYNC251 - nor is it named a second time

    with make_watchdog(metrics) as watchdog:
        await asyncio.create_task(handler(), name=run_name("job", "run-1"))
        (blockage,) = seen
        assert blockage.by == "job job, run run-1"
        await wait_until_async(lambda: watchdog.blockage is None, what="the end to be seen")
        assert watchdog.blocked_for_s == 0
        watched_s = time.monotonic() - began
    assert blocked(metrics, "job") == 1
    seconds = metrics.registry.get_sample_value("piko_event_loop_blocked_seconds_total", {"job_id": "job"})
    assert seconds is not None
    assert 0.3 <= seconds <= watched_s, "from when it was asked to when it answered"


async def test_each_run_that_blocks_before_the_loop_turns_is_named_with_its_part_of_the_time() -> None:
    metrics = Metrics()
    seen: list[str] = []

    async def handler(run_id: str) -> None:
        def by() -> str | None:
            blockage = watchdog.blockage
            return None if blockage is None or blockage.run_id != run_id else blockage.by

        seen.append(wait_until(by, what=f"{run_id} to be named"))

    with make_watchdog(metrics) as watchdog:
        await asyncio.gather(
            *(asyncio.create_task(handler(run), name=run_name(f"of-{run}", run)) for run in ("one", "two"))
        )
        await wait_until_async(lambda: watchdog.blockage is None, what="the end to be seen")
        assert watchdog.latest is not None
        assert watchdog.latest.blockage.run_id == "two"
    assert seen == ["job of-one, run one", "job of-two, run two"]
    for run in ("one", "two"):
        assert blocked(metrics, f"of-{run}") == 1
        name = "piko_event_loop_blocked_seconds_total"
        seconds = metrics.registry.get_sample_value(name, {"job_id": f"of-{run}"})
        assert seconds is not None
        assert seconds >= 0.1


def _block(watchdog: Watchdog, *, job_id: str | None) -> Blockage:
    """Keep the event loop until the watchdog says who does, and say what it says.

    A busy machine may have kept the loop before, and the watchdog have seen it.
    """

    def by() -> Blockage | None:
        blockage = watchdog.blockage
        return blockage if blockage is not None and blockage.job_id == job_id else None

    return wait_until(by, what="the watchdog to see that the loop is blocked")


@pytest.mark.usefixtures("slow")
async def test_a_loop_that_turns_is_left_alone() -> None:
    metrics = Metrics()
    with make_watchdog(metrics, 2) as watchdog:
        for _ in range(125):
            await asyncio.sleep(0.02)
        assert watchdog.blockage is None
    assert blocked(metrics, "job") is None


async def test_what_blocks_outside_of_a_run_is_distinguished() -> None:
    metrics = Metrics()
    with make_watchdog(metrics) as watchdog:
        assert _block(watchdog, job_id=None).by == "code outside any run"
        await wait_until_async(lambda: watchdog.blockage is None, what="the end to be seen")
    assert (blocked(metrics, "") or 0) >= 1, "the machine itself may have kept the loop, too"
    (family,) = metrics.loop_blocked.collect()
    assert {sample.labels["job_id"] for sample in family.samples} == {""}, "no job is blamed"


STOPPED = """
import asyncio
from piko.clock import SystemClock
from piko.observability.metrics import Metrics
from piko.observability.watchdog import Watchdog

async def main():
    metrics = Metrics()
    with Watchdog(clock=SystemClock(), metrics=metrics, blocked_after_s=0.5):
        print("ready", flush=True)
        await asyncio.sleep(2.5)
    print(metrics.registry.get_sample_value("piko_event_loop_blocked_total", {"job_id": ""}), flush=True)

asyncio.run(main())
"""


@pytest.mark.usefixtures("programs")
async def test_nobody_is_blamed_for_a_process_that_was_stopped() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOPPED, stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    assert (await process.stdout.read()).split()[-1] == b"None"
    await process.wait()
