"""The processes of the pool: when they start, what they import, when they end, what they cost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from piko.compute.cpu import CpuManager
from piko.compute.processors import usable_processors
from piko.errors import ComputeError
from tests.compute import functions
from tests.compute.conftest import MakeManager
from tests.harness.processes import lives
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENCE_S, wait_until, wait_until_async

ROOT = Path(__file__).parents[2]
MAIN = """
import asyncio, os, sys
print("main module runs", flush=True)
from piko.compute.cpu import CpuManager
from piko.observability.metrics import Metrics

SCALE = 3

class Point:
    def __init__(self, x): self.x = x

def scaled(point):
    return Point(point.x * SCALE), os.getpid()

async def main():
    manager = CpuManager(metrics=Metrics())
    point, pid = await manager.submit(scaled, Point(7))
    print("scaled", point.x, isinstance(point, Point), pid, flush=True)
    await manager.map_reduce(lambda _: scaled(Point(1)), range(50))
    STOP

asyncio.run(main())
"""


def _children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def _value(manager: CpuManager, name: str, **labels: str) -> float:
    return manager._metrics.registry.get_sample_value(name, labels) or 0.0


async def test_workers_start_on_first_use_and_are_kept(make_manager: MakeManager) -> None:
    manager = make_manager()
    before = set(_children_of(os.getpid()))
    assert await manager.submit(functions.square, 1) == 1
    first = await manager.submit(functions.process_of, 0)
    assert await manager.submit(functions.process_of, 0) == first
    assert {first} == set(_children_of(os.getpid())) - before
    assert _value(manager, "piko_cpu_workers") == 1


async def test_there_are_no_more_workers_than_set(make_manager: MakeManager, tmp_path: Path) -> None:
    manager = make_manager(workers=2)
    async with asyncio.timeout(PATIENCE_S):
        pids = await manager.map_reduce(
            functions.with_another, [str(tmp_path)] * 12, chunk_size=1, concurrency=8
        )
    assert len(set(pids)) == 2
    one = await manager.map_reduce(functions.busy_for, [0.01] * 6, chunk_size=1, concurrency=1)
    assert len(set(one)) == 1


async def test_stopping_ends_busy_workers_and_a_later_call_starts_new_ones(
    make_manager: MakeManager, tmp_path: Path
) -> None:
    manager = make_manager()
    note = tmp_path / "note"
    call = asyncio.create_task(manager.submit(functions.note_and_hang, str(note)))
    await wait_until_async(note.exists, what="the function to run")
    await manager.stop()
    assert not lives(int(note.read_text()))
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert await manager.submit(functions.square, 2) == 4


async def test_a_worker_is_replaced_after_its_number_of_items(make_manager: MakeManager) -> None:
    manager = make_manager(workers=1, max_tasks_per_child=5)
    pids = await manager.map_reduce(functions.process_of, range(23))
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [5, 5, 5, 5, 3]


async def test_a_worker_killed_from_outside_is_replaced_and_everything_is_computed(
    make_manager: MakeManager,
) -> None:
    manager = make_manager()
    call = asyncio.create_task(manager.map_reduce(functions.busy_for, [0.02] * 400))
    await wait_until_async(lambda: _value(manager, "piko_cpu_workers_busy") == 2, what="two busy workers")
    victim = await manager_pid(manager)
    os.kill(victim, signal.SIGKILL)
    pids = await call
    assert len(pids) == 400
    assert _value(manager, "piko_cpu_workers_lost_total", reason="died") >= 1
    assert _value(manager, "piko_cpu_items_total", outcome="ok") == 400


async def manager_pid(manager: CpuManager) -> int:
    """Some worker that lives."""
    backend = await manager._started()
    pid: int = next(iter(backend._all))._process.pid  # type: ignore[attr-defined]
    return pid


async def test_an_item_that_runs_out_of_memory_fails_alone(make_manager: MakeManager) -> None:
    manager = make_manager()
    results = await manager.map_reduce(functions.hungry, range(20), return_exceptions=True)
    assert isinstance(results[3], MemoryError)
    assert sum(isinstance(result, BaseException) for result in results) == 1


async def test_workers_would_be_killed_before_this_process_where_memory_ends(
    make_manager: MakeManager,
) -> None:
    pid = await make_manager().submit(functions.process_of, 0)
    assert _oom_score(pid) == 800


async def test_calls_share_the_workers(make_manager: MakeManager) -> None:
    """A short call does not wait for the end of a long one."""
    manager = make_manager(workers=1)
    long = asyncio.create_task(manager.map_reduce(functions.busy_for, [0.02] * 3000))
    await wait_until_async(
        lambda: _value(manager, "piko_cpu_items_total", outcome="ok") > 0, what="the first chunk"
    )
    assert await asyncio.wait_for(manager.submit(functions.square, 5), PATIENCE_S) == 25
    assert not long.done()
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)


async def test_items_that_do_not_fit_in_memory_are_streamed(make_manager: MakeManager) -> None:
    manager = make_manager()
    await manager.submit(functions.square, 1)
    before, ahead, furthest, taken = functions.memory_mb(), 0, 0, 0

    def numbers() -> Iterator[int]:
        nonlocal ahead, furthest
        for number in range(600):
            ahead += 1
            furthest = max(furthest, ahead)
            yield number

    async for result in manager.stream(functions.megabytes, numbers()):
        assert len(result) == 1_000_000
        taken += 1
        ahead -= 1
    assert taken == 600
    assert functions.memory_mb() - before < 150
    assert furthest < 100


async def test_taking_slowly_holds_up_what_is_taken_from_the_items(make_manager: MakeManager) -> None:
    manager = make_manager()
    pulled = 0

    def numbers() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    results = manager.stream(functions.square, numbers(), chunk_size=10)
    assert await anext(results) == 1
    seen = -1
    while seen != pulled:
        seen = pulled
        await asyncio.sleep(0.2)  # the claim is that nothing happens
    assert pulled <= 10 * (4 + 2) * 3
    await results.aclose()


async def test_an_error_of_the_items_themselves_is_raised(make_manager: MakeManager) -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise LookupError("the source is dry")

    with pytest.raises(LookupError, match="the source is dry"):
        await make_manager().map_reduce(functions.square, numbers())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk_size": 0}, "chunk_size = 0 must be at least 1"),
        ({"concurrency": 0}, "concurrency = 0 must be at least 1"),
        ({"item_timeout_s": 0}, "item_timeout_s = 0 must be a positive number"),
        ({"reduce_fn": max, "return_exceptions": True}, "exceptions cannot be reduced"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    make_manager: MakeManager, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ComputeError, match=message):
        await make_manager().map_reduce(functions.square, [1], **arguments)  # type: ignore[call-overload]


async def test_a_dask_scheduler_that_is_not_there_is_named(
    make_manager: MakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("piko.compute.on_dask._CONNECT_S", 0.5)
    manager = make_manager(dask_address="tcp://127.0.0.1:9")
    with pytest.raises(ComputeError, match=r"`dask_address` = 'tcp://127.0.0.1:9': no Dask scheduler"):
        await manager.submit(functions.square, 1)


def test_functions_of_main_work_without_running_it_again(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(MAIN.replace("STOP", "await manager.stop()"))
    process = piko_process("main.py", cwd=tmp_path)
    assert process.wait() == 0
    assert process.output.count("main module runs") == 1
    assert "scaled 21 True" in process.output


@pytest.mark.parametrize("how", ["it ends without a stop", "it is killed"])
def test_no_worker_outlives_its_owner(how: str, piko_process: PikoProcessFactory, tmp_path: Path) -> None:
    stop = "os._exit(0)" if "without" in how else "await asyncio.Event().wait()"
    (tmp_path / "main.py").write_text(MAIN.replace("STOP", stop))
    process = piko_process("main.py", cwd=tmp_path)
    worker = int(process.wait_for_line("scaled").split()[-1])
    if how == "it is killed":
        process.signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not lives(worker), what="the worker to end")


def test_a_containers_limit_bounds_the_number_of_workers(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("150000 100000\n")
    assert usable_processors(quota=quota) == min(2, len(os.sched_getaffinity(0)))
    quota.write_text("50000 100000\n")
    assert usable_processors(quota=quota) == 1
    quota.write_text("max 100000\n")
    assert usable_processors(quota=quota) == len(os.sched_getaffinity(0))
