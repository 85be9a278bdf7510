"""What a call promises, on both backends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from piko.compute.cpu import CpuManager
from piko.errors import ComputeError, ItemError, WorkerLostError
from tests.compute import functions
from tests.harness.processes import lives
from tests.harness.waiting import PATIENCE_S, wait_until_async


async def test_a_result_comes_back(manager: CpuManager) -> None:
    assert await manager.submit(functions.square, 12) == 144
    assert await manager.submit(int, "ff", base=16) == 255
    assert await manager.submit(functions.process_of, None) != os.getpid()
    point = await manager.submit(functions.mirrored, functions.Point(1, 2))
    assert point == functions.Point(2, 1)


async def test_results_keep_the_order_of_the_items(manager: CpuManager) -> None:
    reported: list[tuple[int, int | None]] = []
    results = await manager.map_reduce(
        map_fn=functions.slow_at_first, items=range(500), progress=lambda *of: reported.append(of)
    )
    assert results == list(range(500))
    assert reported[-1] == (500, 500)
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)
    assert await manager.map_reduce(functions.square, []) == []
    assert await manager.map_reduce(functions.square, range(7), chunk_size=2) == [0, 1, 4, 9, 16, 25, 36]


async def test_lambdas_and_closures_work(manager: CpuManager) -> None:
    factor = 5
    assert await manager.submit(lambda number: number * factor, 4) == 20
    assert await manager.map_reduce(lambda number: number * factor, range(4)) == [0, 5, 10, 15]


async def test_results_are_reduced_in_order(manager: CpuManager) -> None:
    words = ["piko", "runs", "pools"] * 300
    letters = await manager.map_reduce(functions.count_letters, words, reduce_fn=functions.added)
    assert letters["p"] == 600
    assert letters["o"] == 900
    text = await manager.map_reduce(str, range(300), reduce_fn=functions.joined, initial=">")
    assert text == ">" + "".join(str(number) for number in range(300))
    assert await manager.map_reduce(str, [], reduce_fn=functions.joined, initial="none") == "none"
    with pytest.raises(ComputeError, match="no items to reduce; give `initial`"):
        await manager.map_reduce(str, [], reduce_fn=functions.joined)
    with pytest.raises(ZeroDivisionError):
        await manager.map_reduce(str, "abc", reduce_fn=lambda left, right: 1 / 0)


async def test_an_exception_is_raised_as_it_is_with_the_items_index(manager: CpuManager) -> None:
    with pytest.raises(ValueError, match="five is not wanted") as caught:
        await manager.map_reduce(functions.fail_at_five, range(100))
    cause = caught.value.__cause__
    assert isinstance(cause, ItemError)
    assert cause.index == 5
    assert "in fail_at_five" in str(cause)
    assert caught.value.__notes__ == ["item 5 of map_reduce: 5"]
    with pytest.raises(ValueError, match="five is not wanted") as caught:
        await manager.submit(functions.fail_at_five, 5)
    assert "in fail_at_five" in str(caught.value.__cause__)
    with pytest.raises(SystemExit):
        await manager.submit(functions.leave, 1)
    with pytest.raises(ComputeError, match="StubbornError: no 7"):
        await manager.submit(functions.be_stubborn, 1)


async def test_exceptions_can_be_had_in_the_list(manager: CpuManager) -> None:
    results = await manager.map_reduce(functions.fail_at_five, range(50), return_exceptions=True)
    assert isinstance(results[5], ValueError)
    assert [result for result in results if result is not results[5]] == [*range(5), *range(6, 50)]


async def test_what_cannot_be_sent_is_named(manager: CpuManager) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ComputeError, match=r"fn = .*<lambda> cannot be sent .* open connections, locks"):
        await manager.submit(lambda: loop)
    with pytest.raises(ComputeError, match=r"argument of .*square cannot be sent"):
        await manager.submit(functions.square, loop)  # type: ignore[arg-type]
    with pytest.raises(ComputeError, match=r"item 2, a .*Loop, cannot be sent") as caught:
        await manager.map_reduce(functions.process_of, [1, 2, loop, 4])
    assert isinstance(caught.value.__cause__, ItemError)
    assert caught.value.__cause__.index == 2
    with pytest.raises(ComputeError, match=r"the result, a lock, cannot be sent back"):
        await manager.submit(functions.give_a_lock, 1)
    with pytest.raises(ComputeError, match="asynchronous is async"):
        await manager.map_reduce(functions.asynchronous, [1])


async def test_a_killed_worker_costs_only_its_item(manager: CpuManager) -> None:
    results = await manager.map_reduce(functions.die_at_thirteen, range(200), return_exceptions=True)
    lost = results[13]
    assert isinstance(lost, WorkerLostError)
    assert lost.index == 13
    assert "ended by SIGKILL" in str(lost)
    assert [result for result in results if result is not lost] == [*range(13), *range(14, 200)]
    with pytest.raises(
        WorkerLostError, match=r"two worker processes died running item 13 of .*die_at_thirteen"
    ):
        await manager.map_reduce(functions.die_at_thirteen, range(200))
    with pytest.raises(WorkerLostError, match="two worker processes died"):
        await manager.submit(functions.die_at_thirteen, 13)
    with pytest.raises(WorkerLostError):
        await asyncio.wait_for(manager.submit(functions.leave_a_child_and_die, 1), PATIENCE_S)


async def test_a_worker_that_was_killed_by_chance_costs_nothing(manager: CpuManager, tmp_path: Path) -> None:
    assert await manager.submit(functions.die_once, str(tmp_path / "submitted")) > 0
    flags = [str(tmp_path / f"mapped-{number}") for number in range(3)]
    assert len(await manager.map_reduce(functions.die_once, flags, chunk_size=1)) == 3


async def test_an_item_that_takes_too_long_is_ended(manager: CpuManager) -> None:
    results = await manager.map_reduce(
        functions.hang_at_seven, range(50), item_timeout_s=5, return_exceptions=True
    )
    late = results[7]
    assert isinstance(late, TimeoutError)
    assert "item 7" in str(late)
    assert [result for result in results if result is not late] == [*range(7), *range(8, 50)]
    with pytest.raises(TimeoutError, match=r"items were done when timeout_s = 0\.5 expired"):
        await manager.map_reduce(functions.hang_at_seven, range(50), timeout_s=0.5)


async def test_a_cancelled_call_frees_its_worker(manager: CpuManager, tmp_path: Path) -> None:
    note = tmp_path / "hanging"
    call = asyncio.create_task(manager.submit(functions.note_and_hang, str(note)))
    await wait_until_async(note.exists, what="the function to run")
    pid = int(note.read_text())
    assert lives(pid)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wait_until_async(lambda: not lives(pid), what="the worker to be ended")
    assert await asyncio.wait_for(manager.submit(functions.square, 3), PATIENCE_S) == 9


async def test_a_stream_can_be_left(manager: CpuManager) -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    found = []
    async with aclosing(manager.stream(functions.square, numbers())) as results:
        async for result in results:
            found.append(result)
            if len(found) == 300:
                break
    assert found == [number * number for number in range(300)]

    async def asynchronous_numbers() -> AsyncIterator[int]:
        for number in range(100):
            await asyncio.sleep(0)
            yield number

    assert [result async for result in manager.stream(functions.square, asynchronous_numbers())] == [
        number * number for number in range(100)
    ]
