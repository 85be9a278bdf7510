"""What only a cluster can do: lose a machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from piko.compute.cpu import CpuManager
from tests.compute import functions
from tests.compute.conftest import MakeManager, start_dask
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENCE_S, wait_until_async


def _computed(manager: CpuManager) -> float:
    return manager._metrics.registry.get_sample_value("piko_cpu_items_total", {"outcome": "ok"}) or 0.0


async def test_the_chunks_of_a_machine_that_is_lost_are_computed_by_another(
    make_manager: MakeManager, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    address, workers = start_dask(piko_process)
    manager = make_manager(dask_address=address)
    gate = tmp_path / "gate"
    items = [None] * 20 + [str(gate)] * 480
    call = asyncio.create_task(manager.map_reduce(functions.once_there, items, chunk_size=5))
    await wait_until_async(lambda: _computed(manager) == 20, what="the first chunks")
    workers[0].kill()
    gate.touch()
    assert len(await asyncio.wait_for(call, PATIENCE_S)) == 500
    assert _computed(manager) == 500


async def test_a_scheduler_that_goes_away_is_an_error_and_not_a_wait(
    make_manager: MakeManager, piko_process: PikoProcessFactory
) -> None:
    address, _ = start_dask(piko_process)
    manager = make_manager(dask_address=address)
    assert await manager.submit(functions.square, 3) == 9
    scheduler = piko_process.started[0]
    call = asyncio.create_task(manager.submit(functions.busy_for, 30))
    await asyncio.wait({call}, timeout=0.5)
    scheduler.kill()
    outcome = (await asyncio.wait_for(asyncio.gather(call, return_exceptions=True), PATIENCE_S))[0]
    assert "Dask scheduler" in str(outcome), repr(outcome)
