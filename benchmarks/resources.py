"""Many resources: how soon each has its row, how soon deletions end, and what the operator takes when idle.

    python -m benchmarks.resources                 # 2,000 schedules
    python -m benchmarks.resources --count 10000
    python -m benchmarks.resources --bare          # deletions without an operator instead
    python -m benchmarks.resources --reviews 2000  # the admission webhook instead: half a minute

API server, etcd and MariaDB are private and run on the same machine, as the tests start them. A row's delay
is the time of its insert, by the database's clock, less the time at which its resource was sent. The numbers
of requests come from the API server's audit log.

Without an operator, resources of the same size are deleted by a client that removes the finalizer of each in
the next request. That is the least that deletions with a finalizer can take on a machine.

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
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
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
from piko_operator.resources import FINALIZER

_ROOT = Path(__file__).parents[1]
_AT_ONCE = 8
_IDLE_S = 60.0
_SETTLE_S = 15.0
_ASKED_S = 20.0
_PROBE_S = 0.05
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

    async def create(self, name: str, **metadata: Any) -> None:
        body = {
            "apiVersion": "piko.dev/v1",
            "kind": "PikoSchedule",
            "metadata": {"name": name, **metadata},
            "spec": {"jobId": name, "schedule": {"cron": "0 4 * * *"}},
        }
        async with self._turn:
            self.sent[name] = datetime.now(UTC)
            (await self._client.post(self._path, json=body)).raise_for_status()

    async def delete(self, name: str) -> None:
        async with self._turn:
            (await self._client.delete(f"{self._path}/{name}")).raise_for_status()

    async def merge(self, path: str, body: dict[str, Any]) -> None:
        """Patch the resource, or what of it the path names."""
        async with self._turn:
            answer = await self._client.patch(
                f"{self._path}/{path}", json=body, headers={"Content-Type": "application/merge-patch+json"}
            )
            answer.raise_for_status()

    async def left(self) -> int:
        answer = await self._client.get(self._path, params={"limit": 1})
        body = answer.raise_for_status().json()
        return len(body["items"]) + int(body["metadata"].get("remainingItemCount") or 0)

    async def close(self) -> None:
        await self._client.aclose()


async def delays(world: World, sender: Sender, names: Sequence[str]) -> list[float]:
    """Seconds from when each resource was sent to the insert of its row."""
    rows = await world.database.execute("SELECT job_id, created_at FROM scheduled_job")
    made = {str(job_id): at.replace(tzinfo=UTC) for job_id, at in rows}
    return [(made[name] - sender.sent[name]).total_seconds() for name in names]


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


def _since(before: Mapping[str, float]) -> dict[str, float]:
    return {program: after - before.get(program, 0.0) for program, after in processor_s_of_each().items()}


def _stat(pid: int) -> list[str]:
    """The fields from the third, which is the state; see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()


def _processor_s(stat: Sequence[str]) -> float:
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def percentiles(each: list[float]) -> dict[str, float]:
    each = sorted(each)
    return {"p50": statistics.median(each), "p99": each[int(len(each) * 0.99)], "longest": each[-1]}


async def health(world: World, seconds: float) -> dict[str, float]:
    """Milliseconds that `/healthz` takes to answer, asked over and over for that long."""
    each = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.port}", timeout=60) as client:
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            (await client.get("/healthz")).raise_for_status()
            each.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(_PROBE_S)
    return percentiles(each)


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


async def measure(world: World, count: int, *, idle_s: float = _IDLE_S) -> dict[str, Any]:
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
        found["row after s"] = percentiles(each)
        await world.assess()
        await _until(lambda: world.ready() == count, "the statuses")
        found["statuses after s"] = time.perf_counter() - started
        found["processor s for each resource"] = (processor_s(operator) - before) / count
        found["writes"] = {" ".join(key): number for key, number in sorted(writes(world).items())}
        quiet = writes(world)
        await asyncio.sleep(_SETTLE_S)

        before = processor_s(operator)
        await asyncio.sleep(idle_s)
        found["idle, % of a core"] = (processor_s(operator) - before) / idle_s * 100
        found["idle, /healthz in ms"] = await health(world, min(idle_s, _ASKED_S))
        found["memory, MB"] = memory_mb(operator)
        assert operator.terminate() == 0

        started, operator = time.perf_counter(), world.start()
        await _until(lambda: world.ready() == count, "the restart")
        found["restart in s"] = time.perf_counter() - started
        found["writes at idle and restart"] = (writes(world) - quiet).total()
        audited = world.control_plane.writes(world.namespace)
        found["refused"] = [str(item) for item in audited if 400 <= item.status < _TOO_LATE]
        found["too late"] = sum(item.status == _TOO_LATE for item in audited)

        quiet = writes(world, frozenset(names))
        started, before_each = time.perf_counter(), processor_s_of_each()
        deleting = asyncio.gather(*map(sender.delete, names))
        extra = [f"x-{number}" for number in range(10)]
        for name in extra:
            await asyncio.sleep(0.2)
            await sender.create(name)
        await deleting
        await _until(lambda: _equals(sender.left, len(extra)), "the deletions")
        found["deleted in s"] = time.perf_counter() - started
        found["processor s for deletions"] = _since(before_each)
        await _until(lambda: _equals(world.count, len(extra)), "the last rows")
        deletions = writes(world, frozenset(names)) - quiet
        found["writes for deletions"] = {" ".join(key): number for key, number in sorted(deletions.items())}
        each = await delays(world, sender, extra)
        found["row meanwhile after s"] = percentiles(each)
    finally:
        await sender.close()
        operator.kill()
    return found


# ---- without an operator ----------------------------------------------------------------------------

_STATUS: dict[str, Any] = {
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": "AsItShouldBe",
            "message": "a message as long as those that are usual in a status",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
        for kind in ("Synced", "Ready", "Stalled", "Reconciling", "DataGivenUp", "Drifted", "Fresh")
    ],
    "consecutiveFailures": 0,
    "observedGeneration": 1,
    "row": {"managedBy": "default/" + "n" * 90, "version": 1},
    "schedule": "0 4 * * *",
    "servedBy": "somebody",
}


async def measure_bare(world: World, count: int) -> dict[str, Any]:
    """Delete resources that have Piko's finalizer, and remove it."""
    names = [f"r-{number:05}" for number in range(count)]
    sender = Sender(world)

    async def create(name: str) -> None:
        await sender.create(name, finalizers=[FINALIZER])
        await sender.merge(f"{name}/status", {"status": _STATUS})

    async def delete(name: str) -> None:
        await sender.delete(name)
        await sender.merge(name, {"metadata": {"finalizers": None}})

    try:
        await asyncio.gather(*map(create, names))
        started, before = time.perf_counter(), processor_s_of_each()
        await asyncio.gather(*map(delete, names))
        assert await sender.left() == 0
        return {"deleted in s": time.perf_counter() - started, "processor s for deletions": _since(before)}
    finally:
        await sender.close()


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
            found[f"{at_once} at once, ms"] = percentiles(await _reviewed(client, world, count, at_once))
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
    """Milliseconds that each of `count` questions took."""
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
            taken.append((time.perf_counter() - started) * 1000)

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


async def _main(measured: Callable[[World], Awaitable[dict[str, Any]]]) -> None:
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
            print(json.dumps(await measured(world), indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2_000, help="how many schedules")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--bare", action="store_true", help="deletions without an operator instead")
    instead.add_argument("--reviews", type=int, help="how many resources the webhook is asked about instead")
    given = parser.parse_args()
    if given.reviews is not None:
        asyncio.run(_main(partial(measure_reviews, count=given.reviews)))
    else:
        asyncio.run(_main(partial(measure_bare if given.bare else measure, count=given.count)))
