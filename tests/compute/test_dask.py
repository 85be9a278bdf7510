"""What only a cluster can do: lose a machine, and get more of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml
from distributed import Client

from piko.compute.cpu import CpuManager
from tests.compute import functions
from tests.compute.conftest import ROOT, MakeManager, start_dask, start_workers
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


async def test_a_call_asks_for_more_workers_and_uses_those_that_come(
    make_manager: MakeManager, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    cluster, *_ = yaml.safe_load_all((ROOT / "examples" / "dask" / "cluster.yaml").read_text())
    [scheduler] = cluster["spec"]["scheduler"]["spec"]["containers"]
    said = {entry["name"]: entry["value"] for entry in scheduler["env"]}
    address, _ = start_dask(piko_process, workers=1, env=said)
    manager = make_manager(dask_address=address)
    items = [str(tmp_path / "met")] * 12
    (tmp_path / "met").mkdir()
    call = asyncio.create_task(manager.map_reduce(functions.with_two_others, items, chunk_size=1))
    async with Client(address, asynchronous=True, set_as_default=False) as client:

        async def asks_for(workers: int) -> bool:  # what the autoscaler of Dask's operator asks each second
            return await target_of(client) >= workers

        await wait_until_async(lambda: asks_for(2), what="Dask to want a second worker")
        start_workers(piko_process, address, 1)
        await wait_until_async(lambda: asks_for(4), what="Dask to want twice as many again")
        start_workers(piko_process, address, 1)
        assert len(set(await asyncio.wait_for(call, PATIENCE_S))) == 3

        async def asks_for_none() -> bool:
            return await target_of(client) == 0

        await wait_until_async(asks_for_none, what="Dask to want no worker any more")


async def target_of(client: Client) -> int:
    """How many workers the scheduler would have."""
    assert client.scheduler is not None
    target: int = await client.scheduler.adaptive_target()
    return target


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
