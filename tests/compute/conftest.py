from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from piko.compute.cpu import CpuManager
from piko.observability.metrics import Metrics
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.reaper import Reaper
from tests.harness.waiting import wait_until

MakeManager = Callable[..., CpuManager]

ROOT = Path(__file__).parents[2]
_HERE = {"PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}"}


@pytest.fixture
async def make_manager() -> AsyncIterator[MakeManager]:
    """Makes managers of two workers; keywords are those of `use_processes`, or `dask_address`."""
    made: list[CpuManager] = []

    def make(*, dask_address: str | None = None, workers: int = 2, **options: int) -> CpuManager:
        manager = CpuManager(metrics=Metrics())
        if dask_address is None:
            manager.use_processes(workers=workers, **options)
        else:
            manager.use_dask(dask_address)
        made.append(manager)
        return manager

    yield make
    for manager in made:
        await manager.stop()


@pytest.fixture(scope="module")
def dask_address(reaper: Reaper, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Dask scheduler with two workers, each a process of its own."""
    programs = PikoProcessFactory(folder=tmp_path_factory.mktemp("dask"), reaper=reaper)
    try:
        yield start_dask(programs)[0]
    finally:
        programs.close()


def start_dask(
    start: PikoProcessFactory, *, workers: int = 2, env: Mapping[str, str] | None = None
) -> tuple[str, list[ChildProcess]]:
    """Its address, and its workers. `env`: of the scheduler."""
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    start(
        "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
        "--dashboard-address", "127.0.0.1:0", env={**_HERE, **(env or {})}, name="dask-scheduler",
    )  # fmt: skip

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, what="the Dask scheduler to listen")
    return address, start_workers(start, address, workers)


def start_workers(start: PikoProcessFactory, address: str, number: int) -> list[ChildProcess]:
    """So many workers with a thread each, which have joined the scheduler at `address`."""
    workers = [
        start(
            "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard",
            "--host", "127.0.0.1", env=_HERE, name="dask-worker",
        )
        for _ in range(number)
    ]  # fmt: skip
    for worker in workers:
        worker.wait_for_line("Starting established connection|Registered to")
    return workers


@pytest.fixture(params=["processes", "dask"])
def manager(request: pytest.FixtureRequest, make_manager: MakeManager) -> CpuManager:
    """The same calls on both backends."""
    if request.param == "processes":
        return make_manager()
    return make_manager(dask_address=request.getfixturevalue("dask_address"))
