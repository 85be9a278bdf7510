"""One namespace, one database and the operator between them, for benchmarks of resources.

API server, etcd and MariaDB are private and run on the same machine, as the tests start them.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from tests.harness.control_plane import ControlPlane, OwnControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.servers import Servers

from benchmarks.database import durable_mariadb
from piko.store.schema.migrate import upgrade

AT_ONCE = 8
_ROOT = Path(__file__).parents[1]
TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One namespace, one database, and the operator between them."""

    control_plane: ControlPlane
    namespace: str
    database: TestDatabase
    programs: PikoProcessFactory
    port: int

    @classmethod
    async def between(
        cls, control_plane: ControlPlane, database: TestDatabase, programs: PikoProcessFactory
    ) -> World:
        """A new namespace, with the definitions and the tables in place."""
        control_plane.install_crds(_ROOT / "crds")
        await upgrade(database.dsn)
        return cls(
            control_plane=control_plane,
            namespace=control_plane.create_namespace(),
            database=database,
            programs=programs,
            port=free_port(),
        )

    def start(self, **settings: str) -> ChildProcess:
        """The operator, as the administrator."""
        environment = {
            "KUBECONFIG": str(self.control_plane.admin_kubeconfig),
            "PIKO_MYSQL_DSN": self.database.dsn,
            "PIKO_OPERATOR_NAMESPACES": self.namespace,
            "PIKO_OPERATOR_LEASE_NAMESPACE": self.namespace,
            "PIKO_OPERATOR_HTTP_PORT": str(self.port),
            **settings,
        }
        process = self.programs("-m", "piko_operator", env=environment, name="operator")
        process.wait_for_line("operator_started")
        return process

    async def count(self) -> int:
        ((rows,),) = await self.database.execute("SELECT COUNT(*) FROM scheduled_job")
        return int(rows)

    async def assess(self) -> None:
        """Say of each job what the leader of a runtime would."""
        await self.database.execute(
            "INSERT INTO job_state (job_id, status, observed_version) "
            "SELECT job_id, 'Scheduled', version FROM scheduled_job"
        )

    def ready(self) -> int:
        """How many resources the operator reports as ready."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        sign = 'piko_operator_resources{condition="Ready",kind="PikoSchedule"} '
        return next(
            (int(float(line.removeprefix(sign))) for line in text.splitlines() if line.startswith(sign)), 0
        )


class Sender:
    """Creates and deletes resources over a few connections."""

    def __init__(self, world: World) -> None:
        config = json.loads(world.control_plane.admin_kubeconfig.read_text(encoding="utf-8"))
        self._path = f"/apis/piko.dev/v1/namespaces/{world.namespace}/pikoschedules"
        trusted = ssl.create_default_context(cafile=str(world.control_plane.ca_file))
        self._client = aiohttp.ClientSession(
            world.control_plane.url,
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
            connector=aiohttp.TCPConnector(ssl=trusted),
            timeout=TIMEOUT,
            raise_for_status=True,
        )
        self._turn = asyncio.Semaphore(AT_ONCE)
        self.sent: dict[str, datetime] = {}

    async def create(self, name: str, **metadata: Any) -> None:
        body = {
            "apiVersion": "piko.dev/v1",
            "kind": "PikoSchedule",
            "metadata": {"name": name, **metadata},
            "spec": {"jobId": name, "schedule": {"cron": "0 4 * * *"}},
        }
        async with self._turn:
            self.sent[name] = datetime.now(UTC)
            async with self._client.post(self._path, json=body) as answer:
                await answer.read()

    async def delete(self, name: str) -> None:
        async with self._turn, self._client.delete(f"{self._path}/{name}") as answer:
            await answer.read()

    async def patch(self, path: str, body: Any, kind: str) -> None:
        """Patch the resource, or what of it the path names; `kind` is the patch's content type."""
        text, headers = json.dumps(body), {"Content-Type": kind}
        async with (
            self._turn,
            self._client.patch(f"{self._path}/{path}", data=text, headers=headers) as answer,
        ):
            await answer.read()

    async def left(self) -> int:
        async with self._client.get(self._path, params={"limit": "1"}) as answer:
            body = await answer.json()
        return len(body["items"]) + int(body["metadata"].get("remainingItemCount") or 0)

    async def close(self) -> None:
        await self._client.close()


def processor_s(process: ChildProcess) -> float:
    return _processor_s(_stat(process.pid))


def processor_s_of_each() -> dict[str, float]:
    """Seconds of processor so far, by program: this one and those that it has started."""
    found = {"benchmark": time.process_time()}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            stat = _stat(int(folder.name))
            if int(stat[1]) == os.getpid():
                program = (folder / "comm").read_text(encoding="ascii").strip()
                found[program] = found.get(program, 0.0) + _processor_s(stat)
    return found


def processor_s_since(before: Mapping[str, float]) -> dict[str, float]:
    return {program: after - before.get(program, 0.0) for program, after in processor_s_of_each().items()}


def _stat(pid: int) -> list[str]:
    """The fields from the third, which is the state; see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()


def _processor_s(stat: Sequence[str]) -> float:
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def percentiles(each: list[float]) -> dict[str, float]:
    each = sorted(each)
    return {"p50": statistics.median(each), "p99": each[int(len(each) * 0.99)], "longest": each[-1]}


def memory_mb(process: ChildProcess) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


async def with_world(measured: Callable[[World], Awaitable[dict[str, Any]]]) -> None:
    """Print what is `measured` in a new world."""
    servers, stack = Servers(), ExitStack()
    folder = Path(servers.folder)
    with stack:
        stack.callback(servers.close)
        control_plane = OwnControlPlane(folder=folder / "plane", reaper=servers.reaper)
        stack.callback(control_plane.kill)
        await asyncio.to_thread(control_plane.start)
        async with durable_mariadb() as mariadb:
            programs = PikoProcessFactory(folder=folder, reaper=servers.reaper)
            stack.callback(programs.close)
            world = await World.between(control_plane, await mariadb.create_database(), programs)
            print(json.dumps(await measured(world), indent=2))
