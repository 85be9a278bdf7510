"""Two replicas of the operator: one acts, the other takes over. The audit log says who wrote."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from piko.store.schema.migrate import upgrade
from tests.harness.control_plane import AuditedWrite, OwnControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until, wait_until_async
from tests.operator.conftest import RULES
from tests.operator.tenants import bind
from tests.serving.sockets import answer_of

_ROOT = Path(__file__).parents[2]
_CHANGES = 50
_IDENTITY = [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]


@dataclass(frozen=True, slots=True)
class Replica:
    """One process, and the user that it is for the API server."""

    account: str
    process: ChildProcess
    port: int

    def get(self, path: str) -> tuple[int, str]:
        return answer_of(self.port, path)

    @property
    def acts(self) -> bool:
        """Whether it says that it leads; the metric has no series before its first word."""
        lines = self.get("/metrics")[1].splitlines()
        return any(" 1.0" in line for line in lines if line.startswith("piko_operator_leader_status{"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """The replicas of one operator, which all have a user of their own, and what it serves."""

    plane: OwnControlPlane
    namespace: str
    database: TestDatabase
    programs: PikoProcessFactory
    numbers: Iterator[int] = field(default_factory=itertools.count)
    sent: dict[str, datetime] = field(default_factory=dict)

    def start(self, account: str) -> Replica:
        """Start one, and wait until it is ready."""
        kubeconfig, port = self.plane.service_account_kubeconfig(self.namespace, account), free_port()
        bind(self.plane, account, RULES, account=(self.namespace, account), namespaces=[self.namespace])
        bind(self.plane, f"{account}-identity", _IDENTITY, account=(self.namespace, account), namespaces=[])
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "PIKO_MYSQL_DSN": self.database.dsn,
            "PIKO_OPERATOR_NAMESPACES": self.namespace,
            "PIKO_OPERATOR_LEASE_NAMESPACE": self.namespace,
            "PIKO_OPERATOR_HTTP_PORT": str(port),
        }
        process = self.programs("-m", "piko_operator", env=environment, name=account)
        process.wait_for_line("operator_started")
        replica = Replica(account, process, port)
        wait_until(lambda: replica.get("/readyz")[0] == 200, what=f"{account} to be ready")
        return replica

    def apply(self) -> str:
        """Make one schedule; returns its name, which is also that of its job."""
        name = f"s-{next(self.numbers)}"
        body = {
            "apiVersion": "piko.dev/v1",
            "kind": "PikoSchedule",
            "metadata": {"name": name},
            "spec": {"jobId": name, "schedule": {"cron": "@daily"}},
        }
        self.sent[name] = datetime.now(UTC)
        self.plane.kubectl("-n", self.namespace, "create", "-f", "-", input=json.dumps(body))
        return name

    def writes(self) -> list[AuditedWrite]:
        """What operators have written to schedules, oldest first."""
        found = [item for item in self.plane.writes(self.namespace) if item.agent == "piko-operator"]
        return [item for item in found if item.resource.startswith("pikoschedules")]

    def writers(self) -> list[str]:
        """The accounts of the writers, one after the other; each as often as it took over."""
        users = (item.user.rpartition(":")[2] for item in self.writes())
        return [account for account, _ in itertools.groupby(users)]

    def until_written(self, name: str, *, by: Replica | None = None) -> None:
        """Wait for a status of a schedule."""

        def written() -> bool:
            return any(
                item.name == name
                and item.resource == "pikoschedules/status"
                and (by is None or item.user.endswith(f":{by.account}"))
                for item in self.writes()
            )

        wait_until(written, what=f"a status of {name}")

    async def rows_after(self) -> dict[str, float]:
        """By schedule, the seconds from its creation until its row was made."""
        rows = await self.database.execute("SELECT job_id, created_at FROM scheduled_job")
        return {
            str(name): (made.replace(tzinfo=UTC) - self.sent[str(name)]).total_seconds()
            for name, made in rows
        }


@pytest.fixture
async def replicas(
    own_control_plane: OwnControlPlane, mariadb: TestDatabase, piko_process: PikoProcessFactory
) -> Replicas:
    own_control_plane.install_crds(_ROOT / "crds")
    await upgrade(mariadb.dsn)
    return Replicas(
        plane=own_control_plane,
        namespace=own_control_plane.create_namespace(),
        database=mariadb,
        programs=piko_process,
    )


async def test_of_two_replicas_one_writes_and_the_other_takes_over(replicas: Replicas) -> None:
    first = replicas.start("first")
    wait_until(lambda: first.acts, what="the first replica to act")
    second = replicas.start("second")
    names = [replicas.apply() for _ in range(_CHANGES)]
    replicas.until_written(names[-1], by=first)
    assert not second.acts
    assert second.get("/healthz")[0] == 200
    assert "operator_acts" not in second.process.output

    first.process.kill()
    after_kill = replicas.apply()
    replicas.until_written(after_kill, by=second)

    third = replicas.start("third")
    assert second.process.terminate() == 0
    assert "leadership_released" in second.process.output, "it does not wait for the Lease to expire"
    after_stop = replicas.apply()
    replicas.until_written(after_stop, by=third)

    took = await replicas.rows_after()
    print(f"rows after {took[after_kill]:.2f} s (kill -9) and {took[after_stop]:.2f} s (SIGTERM)")
    assert replicas.writers() == ["first", "second", "third"], "none wrote after the next one had begun"
    assert [item for item in replicas.writes() if item.status == 409] == []


async def test_a_rolling_update_leaves_out_no_change_and_collides_with_nothing(replicas: Replicas) -> None:
    old = replicas.start("old-0")
    wait_until(lambda: old.acts, what="the first replica to act")
    other = replicas.start("old-1")
    rolled = asyncio.Event()

    async def change() -> list[str]:
        """Make schedules for as long as the update goes on, and at least fifty."""
        names: list[str] = []
        while not rolled.is_set() or len(names) < _CHANGES:
            names.append(await asyncio.to_thread(replicas.apply))
        return names

    def roll() -> None:
        """As a Deployment does: a new one, until it is ready, then one of the old ones away."""
        replicas.start("new-0")
        assert old.process.terminate() == 0
        replicas.start("new-1")
        assert other.process.terminate() == 0

    async with asyncio.TaskGroup() as group:
        changing = group.create_task(change())
        await wait_until_async(lambda: len(replicas.sent) >= 5, what="changes to be under way")
        await asyncio.to_thread(roll)
        rolled.set()
    names = changing.result()
    for name in names:
        replicas.until_written(name)
    took = await replicas.rows_after()
    assert set(took) == set(names), "each has its row"
    print(f"{len(names)} changes, the longest without a row for {max(took.values()):.2f} s")
    writers = replicas.writers()
    assert len(writers) == len(set(writers)), "none wrote after the next one had begun"
    assert writers[0] == "old-0"
    assert writers[-1] in ("new-0", "new-1")
    assert [item for item in replicas.writes() if item.status == 409] == []
