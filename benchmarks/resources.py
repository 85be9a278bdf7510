"""Many resources: how soon each has its row, how soon deletions end, and what the operator takes when idle.

    python -m benchmarks.resources                 # 2,000 schedules
    python -m benchmarks.resources --count 10000
    python -m benchmarks.resources --reviews 2000  # the admission webhook instead: half a minute

API server, etcd and MariaDB are private and run on the same machine, as the tests start them. A row's delay
is the time of its insert, by the database's clock, less the time at which its resource was sent. The numbers
of requests come from the API server's audit log.

The webhook is asked as the API server asks it, over TLS at its two paths one after the other, about resources
in turn: a schedule that is made, one whose times change, and a config whose job has published a schema, which
takes a read of the database.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import ssl
import statistics
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from tests.harness.control_plane import ControlPlane, OwnControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.servers import Servers
from tests.harness.waiting import wait_until_async

from benchmarks.database import durable_mariadb
from piko.store.schema.migrate import upgrade

_ROOT = Path(__file__).parents[1]
_AT_ONCE = 8
_IDLE_S = 10.0
_TOO_LATE = 504
_LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One namespace, one database, and the operator between them."""

    control_plane: ControlPlane
    namespace: str
    database: TestDatabase
    programs: PikoProcessFactory
    port: int

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
        self._client = httpx.AsyncClient(
            base_url=world.control_plane.url,
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
            verify=ssl.create_default_context(cafile=str(world.control_plane.ca_file)),
            timeout=60,
        )
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self.sent: dict[str, datetime] = {}

    async def create(self, name: str) -> None:
        body = {
            "apiVersion": "piko.dev/v1",
            "kind": "PikoSchedule",
            "metadata": {"name": name},
            "spec": {"jobId": name, "schedule": {"cron": "0 4 * * *"}},
        }
        async with self._turn:
            self.sent[name] = datetime.now(UTC)
            (await self._client.post(self._path, json=body)).raise_for_status()

    async def delete(self, name: str) -> None:
        async with self._turn:
            (await self._client.delete(f"{self._path}/{name}")).raise_for_status()

    async def left(self) -> int:
        answer = await self._client.get(self._path, params={"limit": 1})
        body = answer.raise_for_status().json()
        return len(body["items"]) + int(body["metadata"].get("remainingItemCount") or 0)

    async def close(self) -> None:
        await self._client.aclose()


async def delays(world: World, sender: Sender, names: Sequence[str]) -> list[float]:
    """Seconds from when each resource was sent to the insert of its row, in order of size."""
    rows = await world.database.execute("SELECT job_id, created_at FROM scheduled_job")
    made = {str(job_id): at.replace(tzinfo=UTC) for job_id, at in rows}
    return sorted((made[name] - sender.sent[name]).total_seconds() for name in names)


def processor_s(process: ChildProcess) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: ChildProcess) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def writes(world: World, names: Container[str] | None = None) -> Counter[tuple[str, str]]:
    """Writes of the operator so far that were answered in time, to the resources of these names or to all.

    By verb and resource. An API server that is too busy answers some with 504, and they are tried again.
    """
    found = world.control_plane.writes(world.namespace)
    return Counter(
        (item.verb, item.resource)
        for item in found
        if item.agent == "piko-operator" and item.status < _TOO_LATE and (names is None or item.name in names)
    )


async def measure(world: World, count: int) -> dict[str, Any]:
    """Create, idle, restart, delete."""
    names = [f"r-{number:05}" for number in range(count)]
    found: dict[str, Any] = {}
    sender, operator = Sender(world), world.start()
    try:
        started, before = time.perf_counter(), processor_s(operator)
        await asyncio.gather(*map(sender.create, names))
        found["created in s"] = time.perf_counter() - started
        await _until(lambda: _equals(world.count, count), "the rows")
        each = await delays(world, sender, names)
        found["row after s"] = {"p50": statistics.median(each), "p99": each[int(len(each) * 0.99)]}
        await world.assess()
        await _until(lambda: world.ready() == count, "the statuses")
        found["statuses after s"] = time.perf_counter() - started
        found["processor s for each resource"] = (processor_s(operator) - before) / count
        found["writes"] = {" ".join(key): number for key, number in sorted(writes(world).items())}
        await asyncio.sleep(_IDLE_S / 2)

        before, quiet = processor_s(operator), writes(world)
        await asyncio.sleep(_IDLE_S)
        found["idle, % of a core"] = (processor_s(operator) - before) / _IDLE_S * 100
        found["memory, MB"] = memory_mb(operator)
        assert operator.terminate() == 0

        started, operator = time.perf_counter(), world.start()
        await _until(lambda: world.ready() == count, "the restart")
        found["restart in s"] = time.perf_counter() - started
        found["writes at idle and restart"] = (writes(world) - quiet).total()
        audited = world.control_plane.writes(world.namespace)
        found["refused"] = [str(item) for item in audited if 400 <= item.status < _TOO_LATE]
        found["too late"] = sum(item.status == _TOO_LATE for item in audited)

        started, quiet = time.perf_counter(), writes(world, frozenset(names))
        deleting = asyncio.gather(*map(sender.delete, names))
        extra = [f"x-{number}" for number in range(10)]
        for name in extra:
            await asyncio.sleep(0.2)
            await sender.create(name)
        await deleting
        await _until(lambda: _equals(sender.left, len(extra)), "the deletions")
        found["deleted in s"] = time.perf_counter() - started
        await _until(lambda: _equals(world.count, len(extra)), "the last rows")
        deletions = writes(world, frozenset(names)) - quiet
        found["writes for deletions"] = {" ".join(key): number for key, number in sorted(deletions.items())}
        each = await delays(world, sender, extra)
        found["row meanwhile after s"] = {"p50": statistics.median(each), "longest": each[-1]}
    finally:
        await sender.close()
        operator.kill()
    return found


# ---- the webhook ------------------------------------------------------------------------------------

_WEBHOOK = "benchmark-admission"
_MADE = {"jobId": "made", "schedule": {"cron": "30 2 * * *"}, "timeZone": "Europe/Berlin"}
_RARE = {**_MADE, "schedule": {"interval": {"every": "12h"}}}
_ASKED: Sequence[tuple[str, dict[str, Any], dict[str, Any] | None]] = (
    ("PikoSchedule", _MADE, None),
    ("PikoSchedule", _RARE, {**_MADE, "schedule": {"interval": {"seconds": 1}}}),
    ("PikoJobConfig", {"jobId": "known", "config": {"rows": 3}}, None),
)
"""Kind, spec, and the spec before it where there was one."""


async def measure_reviews(world: World, count: int) -> dict[str, Any]:
    """Milliseconds until both answers about a resource are there: asked one by one, and eight at once."""
    schema = '{"type": "object", "properties": {"rows": {"type": "integer"}}}'
    await world.database.execute(
        "INSERT INTO job_definition "
        "(job_id, app, handler, stateful, config_schema, content_hash, instance_id) "
        f"VALUES ('known', 'app', 'a:b', 0, '{schema}', 'h', 'i')"
    )
    port = free_port()
    authority = await _certified(world, port)
    async with httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{port}", verify=ssl.create_default_context(cadata=authority), timeout=60
    ) as client:
        found: dict[str, Any] = {}
        for at_once in (1, _AT_ONCE):
            await _reviewed(client, world, 50, at_once)  # what is loaded with the first question
            each = sorted(await _reviewed(client, world, count, at_once))
            found[f"{at_once} at once, ms"] = {
                "p50": statistics.median(each) * 1000,
                "p99": each[int(len(each) * 0.99)] * 1000,
                "longest": each[-1] * 1000,
            }
    return found


async def _certified(world: World, port: int) -> str:
    """Start the operator with its webhook; the authority that has signed its certificate."""
    control_plane, here = world.control_plane, ("-n", world.namespace)
    control_plane.kubectl(*here, "create", "secret", "generic", _WEBHOOK)
    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
        body: dict[str, Any] = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": _WEBHOOK},
            "webhooks": [],
        }
        control_plane.kubectl("create", "-f", "-", input=json.dumps(body))
    process = world.start(
        PIKO_OPERATOR_ADMISSION_PORT=str(port),
        PIKO_OPERATOR_ADMISSION_SERVICE=_WEBHOOK,
        PIKO_OPERATOR_ADMISSION_CONFIGURATION=_WEBHOOK,
    )
    process.wait_for_line("admission_certificate_made")
    said = control_plane.kubectl(*here, "get", "secret", _WEBHOOK, "-o", "json").stdout
    return base64.b64decode(json.loads(said)["data"]["ca.crt"]).decode()


async def _reviewed(client: httpx.AsyncClient, world: World, count: int, at_once: int) -> list[float]:
    """Seconds that each of `count` questions took."""
    turn, taken = asyncio.Semaphore(at_once), []
    extensions = {"sni_hostname": f"{_WEBHOOK}.{world.namespace}.svc"}

    async def one(number: int) -> None:
        kind, spec, before = _ASKED[number % len(_ASKED)]
        body = _question(world.namespace, str(number), kind, spec, before)
        async with turn:
            started = time.perf_counter()
            for path in ("/form", "/admission"):
                answer = await client.post(path, content=body, extensions=extensions)
                assert answer.raise_for_status().json()["response"]["allowed"], answer.text
            taken.append(time.perf_counter() - started)

    await asyncio.gather(*map(one, range(count)))
    return taken


def _question(
    namespace: str, uid: str, kind: str, spec: dict[str, Any], before: dict[str, Any] | None
) -> bytes:
    """The AdmissionReview about a resource."""
    resource = {
        "apiVersion": "piko.dev/v1",
        "kind": kind,
        "metadata": {"name": "one", "namespace": namespace},
    }
    request = {
        "uid": uid,
        "kind": {"group": "piko.dev", "version": "v1", "kind": kind},
        "namespace": namespace,
        "operation": "CREATE" if before is None else "UPDATE",
        "object": {**resource, "spec": spec},
        "oldObject": None if before is None else {**resource, "spec": before},
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review).encode()


async def _equals(read: Callable[[], Awaitable[int]], expected: int) -> bool:
    return bool(await read() == expected)


async def _until(condition: Any, what: str) -> None:
    await wait_until_async(condition, what=what, timeout=_LONGEST_S, interval=0.2)


async def _main(count: int, reviews: int | None) -> None:
    servers, stack = Servers(), ExitStack()
    folder = Path(servers.folder)
    with stack:
        stack.callback(servers.close)
        control_plane = OwnControlPlane(folder=folder / "plane", reaper=servers.reaper)
        stack.callback(control_plane.kill)
        await asyncio.to_thread(control_plane.start)
        control_plane.install_crds(_ROOT / "crds")
        async with durable_mariadb() as mariadb:
            database = await mariadb.create_database()
            await upgrade(database.dsn)
            programs = PikoProcessFactory(folder=folder, reaper=servers.reaper)
            stack.callback(programs.close)
            world = World(
                control_plane=control_plane,
                namespace=control_plane.create_namespace(),
                database=database,
                programs=programs,
                port=free_port(),
            )
            found = measure(world, count) if reviews is None else measure_reviews(world, reviews)
            print(json.dumps(await found, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2_000, help="how many schedules")
    parser.add_argument("--reviews", type=int, help="how many resources the webhook is asked about")
    given = parser.parse_args()
    asyncio.run(_main(given.count, given.reviews))
