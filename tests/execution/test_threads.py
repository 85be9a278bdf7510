"""Threads of handlers are as many as the setting says, and nobody else waits for one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from piko.execution.threads import HandlerThreads
from piko.observability.bindings import of_run
from tests.harness.waiting import PATIENCE_S


@pytest.fixture
async def threads() -> AsyncIterator[HandlerThreads]:
    pool = HandlerThreads(threads=3)
    asyncio.get_running_loop().set_default_executor(pool)
    yield pool
    pool.shutdown()


async def test_a_run_gets_as_many_threads_as_are_set_and_others_need_not_wait(
    threads: HandlerThreads,
) -> None:
    gate, running, most = threading.Event(), set[int](), 0
    busy = threading.Semaphore(0)

    def block() -> str:
        nonlocal most
        running.add(threading.get_ident())
        most = max(most, len(running))
        busy.release()
        gate.wait(PATIENCE_S)
        running.discard(threading.get_ident())
        return threading.current_thread().name

    with of_run(job_id="job", run_id="run", attempt=1):
        calls = [asyncio.create_task(asyncio.to_thread(block)) for _ in range(5)]
    await asyncio.to_thread(lambda: [busy.acquire(timeout=PATIENCE_S) for _ in range(3)])
    assert threads.calls == 5
    assert not await threads.idle(within_s=0.01)
    assert len(await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)) > 0, "names are looked up"
    gate.set()
    names = await asyncio.gather(*calls)
    assert most == 3
    assert all(name.startswith("piko-handler") for name in names)
    assert await threads.idle(within_s=PATIENCE_S)


async def test_a_call_that_is_no_runs_has_a_thread_of_its_own(threads: HandlerThreads) -> None:
    name = await asyncio.to_thread(lambda: threading.current_thread().name)
    assert name.startswith("piko_")
    assert threads.calls == 0
