"""A stage for failures: a database server, replicas that reach it each by a way of their own, evidence."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from piko.store.schema.migrate import upgrade
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.harness.lines import whole_lines
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.soak.judge import Begun, Row, Rules, violations
from tests.soak.witness import IDLE_S, Witness, untruths
from tests.store.cutting import CuttableWay, cuttable

SECOND = timedelta(seconds=1)
RULES = {
    **{f"tick-{number}": Rules(grid=SECOND) for number in range(8)},
    "cron": Rules(grid=2 * SECOND),
    "flaky": Rules(grid=SECOND),
    "slow": Rules(grid=3 * SECOND),
    "windows": Rules(grid=SECOND, stateful=True),
}
SCHEDULES = {
    **{f"tick-{number}": ("interval", {"seconds": 1}) for number in range(8)},
    "cron": ("cron", "*/2 * * * * *"),
    "flaky": ("interval", {"seconds": 1}),
    "slow": ("interval", {"seconds": 3}),
    "windows": ("interval", {"seconds": 1}),
}
ENVIRONMENT = {
    "PIKO_LEADER_LEASE_S": "3",
    "PIKO_LEADER_RENEW_INTERVAL_S": "0.5",
    "PIKO_POLL_INTERVAL_S": "0.3",
    "PIKO_HEARTBEAT_INTERVAL_S": "1",
    "PIKO_DRAIN_TIMEOUT_S": "2",
    "PIKO_LOG_FORMAT": "json",
}
_HEAL_S = PATIENCE_S


class Replica:
    """One place in which a replica runs, again and again, over a way of its own to the database."""

    def __init__(
        self, name: str, *, way: CuttableWay, dsn: str, stage: Stage, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.way = way
        self._dsn = dsn
        self._environment = environment
        self._stage = stage
        self._starts = 0
        self.frozen = False
        self.port = 0
        self.process = self._start()

    def _start(self) -> ChildProcess:
        self._starts += 1
        self.port = free_port()
        folder = self._stage.folder / self.name  # stays: what one life leaves, the next one finds
        folder.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            **ENVIRONMENT,
            **self._environment,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PIKO_MYSQL_DSN": self._dsn,
            "PIKO_HTTP_PORT": str(self.port),
            "PIKO_EXECUTOR": self._stage.executor,
            "SOAK_NOTES": str(self._stage.notes),
        }
        return ChildProcess(
            [sys.executable, "-m", "piko", "run", "tests.soak.app:app"],
            name=self.name,
            log=self._stage.folder / f"{self.name}.{self._starts}.log",
            reaper=self._stage.reaper,
            environment=environment,
            cwd=folder,
        )

    def answers_at(self) -> int | None:
        """The port of its probes, while its process is there."""
        return self.port if self.process.running else None

    def start(self) -> None:
        if not self.process.running:
            self.process = self._start()

    def freeze(self) -> None:
        if self.process.running:
            self.process.signal(signal.SIGSTOP)
            self.frozen = True

    def thaw(self) -> None:
        if self.frozen and self.process.running:
            self.process.signal(signal.SIGCONT)
        self.frozen = False

    def memory_mb(self) -> float:
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def end(self) -> None:
        self.thaw()
        self.process.kill()


class Stage:
    """Replicas of the soak's app, and what they and their handlers did."""

    def __init__(
        self,
        *,
        server: DatabaseServer,
        database: TestDatabase,
        folder: Path,
        reaper: Reaper,
        executor: str,
    ) -> None:
        self.server = server
        self.database = database
        self.folder = folder
        self.reaper = reaper
        self.executor = executor
        self.notes = folder / "notes"
        self.notes.touch()
        self.replicas: list[Replica] = []
        self.witness = Witness({})
        self.set_back: list[tuple[str, datetime]] = []
        self._scheduled_at: datetime | None = None
        self._healed_at: datetime | None = None
        self.idle_s = IDLE_S
        """How long a leader may begin nothing: on a slow database its claims take longer."""
        self._silent_since = float("inf")
        """From when on nothing is due any more, seconds since 1970."""

    async def schedule(self) -> None:
        for job_id, (kind, expression) in SCHEDULES.items():
            values = f"'{job_id}', '{kind}', '{json.dumps(expression)}', 0, 1000000, 1000000, 3600, 0.5"
            await self.database.execute(
                "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, coalesce, "
                "history_successful, history_failed, misfire_grace_s, retry_backoff_s) "
                f"VALUES ({values})"
            )
        self._scheduled_at = _utc_now()

    async def until_all_run(self) -> None:
        """Wait until every job has run."""

        def all_noted() -> bool:
            return len({note.job_id for note in self.begun()}) == len(RULES)

        await wait_until_async(all_noted, what="every job to run")

    async def heal(self) -> None:
        """Let all come back until every job goes on; then fire nothing more until nothing is in progress."""
        for replica in self.replicas:
            replica.thaw()
            replica.way.open()
            replica.way.delay_s = 0.0
            replica.start()
        self._healed_at = healed_at = _utc_now()

        async def lagging() -> list[Any]:
            reached = await self.database.execute(
                "SELECT job_id, MAX(COALESCE(missed_through, scheduled_time)) FROM job_run GROUP BY job_id"
            )
            return [job_id for job_id, last in reached if last < healed_at]

        async def in_progress() -> list[Any]:
            return await self.database.execute(
                "SELECT job_id, status FROM job_state WHERE status != 'Disabled' "
                "UNION ALL SELECT run_id, state FROM job_run WHERE state IN ('RUNNING', 'QUEUED')"
            )

        await _until_nothing_is(lagging, "behind")
        self._silent_since = time.time()
        await self.database.execute("UPDATE scheduled_job SET enabled = 0")
        await _until_nothing_is(in_progress, "in progress")

    async def assessed(self) -> list[str]:
        """Every way in which the history is not as promised."""
        assert self._scheduled_at is not None
        assert self._healed_at is not None, "the judge waits until all has come back"
        begun, span = self.begun(), (self._scheduled_at, self._healed_at)
        return [
            *violations(RULES, await self.rows(), begun, span=span, set_back=self.set_back),
            *untruths(
                [each for each in self.witness.said if each.asked_at < self._silent_since],
                [note.at for note in begun],
                idle_s=self.idle_s,
            ),
        ]

    def block_an_event_loop(self, seconds: float) -> None:
        """Let the next handler that looks keep its event loop; see `blocked`."""
        (self.folder / "order").write_text(str(seconds))
        (self.folder / "order").rename(self.folder / "block")

    async def blocked(self) -> Replica:
        """Wait for the one whose event loop is blocked by order."""

        def found() -> Replica | None:
            for replica in self.replicas:
                if (self.folder / f"blocked-by-{replica.process.pid}").exists():
                    return replica
            return None

        replica = await wait_until_async(found, what="a handler to block its event loop")
        assert replica is not None
        return replica

    async def lingering_run(self, replica: Replica, seconds: float) -> str:
        """Let a run that the replica begins take so long; return when it has begun."""
        pid = replica.process.pid
        (self.folder / "order").write_text(str(seconds))
        (self.folder / "order").rename(self.folder / f"linger-{pid}")
        said = self.folder / f"lingers-{pid}"
        await wait_until_async(said.exists, what=f"{replica.name} to begin a run", interval=0.02)
        return said.read_text()

    def begun(self) -> list[Begun]:
        begun: dict[tuple[str, int], dict[str, Any]] = {}
        order: list[dict[str, Any]] = []
        for line in whole_lines(self.notes):
            note = json.loads(line)
            if note["what"] == "begin":
                order.append(note)
                begun[note["run_id"], note["pid"]] = note
            else:
                begun[note["run_id"], note["pid"]]["end"] = note
        return [
            Begun(
                job_id=note["job_id"],
                scheduled=_stored(note["scheduled"]),
                run_id=note["run_id"],
                attempt=note["attempt"],
                at=note["at"],
                pid=note["pid"],
                window_start=None if note["window_start"] is None else _stored(note["window_start"]),
                ended_at=note["end"]["at"] if "end" in note else None,
                succeeded="end" in note and note["end"]["what"] == "done",
            )
            for note in order
        ]

    async def rows(self) -> list[Row]:
        rows = await self.database.execute(
            "SELECT job_id, scheduled_time, run_id, attempt, state, missed_through, window_start, window_end"
            ", COALESCE(starts_at <= starts_until, starts_at IS NULL OR heartbeat_at IS NULL) "
            "FROM job_run LEFT JOIN runtime_instance USING (instance_id) "
            "ORDER BY job_id, scheduled_time, attempt"
        )
        return [Row(*row) for row in rows]


@asynccontextmanager
async def staged(
    *,
    reaper: Reaper,
    replicas: int,
    executor: str = "leader",
    environment: Callable[[int], Mapping[str, str]] = lambda _: {},
) -> AsyncIterator[Stage]:
    """A stage on which every job has run; all of it is ended with the block, but for the evidence.

    `environment` gives what is different from `ENVIRONMENT` for the replica of that number.
    """
    folder = Path(tempfile.mkdtemp(prefix="piko-soak-"))
    data = folder / "database"
    data.mkdir()
    async with AsyncExitStack() as stack:
        server = DatabaseServer(kind="mariadb", folder=data, reaper=reaper)
        await asyncio.to_thread(server.start)
        stack.callback(server.kill)
        database = await server.create_database()
        await upgrade(database.dsn)
        stage = Stage(server=server, database=database, folder=folder, reaper=reaper, executor=executor)
        await stage.schedule()
        for number in range(replicas):
            way, beyond = await stack.enter_async_context(cuttable(database))
            replica = Replica(
                f"replica-{number}", way=way, dsn=beyond.dsn, stage=stage, environment=environment(number)
            )
            stage.replicas.append(replica)
            stack.callback(replica.end)
        await stage.until_all_run()
        async with _watched(stage):
            yield stage


@asynccontextmanager
async def _watched(stage: Stage) -> AsyncIterator[None]:
    stage.witness = Witness({replica.name: replica.answers_at for replica in stage.replicas})
    watching = asyncio.create_task(stage.witness.watch(), name="witness")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    assert watching.cancelled(), f"the witness ended by itself: {watching.exception()!r}"


async def _until_nothing_is(found: Callable[[], Awaitable[list[Any]]], how: str) -> None:
    async def nothing() -> bool:
        return not await found()

    try:
        await wait_until_async(nothing, timeout=_HEAL_S, what=f"nothing to be {how}", interval=0.3)
    except AssertionError:
        print(f"still {how} after {_HEAL_S:g} s: {await found()}")  # the judge says of each what is wrong


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _stored(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
