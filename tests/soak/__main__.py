"""`make soak`: replicas of one app, failures at random, and a verdict from the handlers' own evidence.

`python -m tests.soak --seconds 600 --seed 1 --replicas 3 --executor leader`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from piko.store.migrate import upgrade
from tests.harness.database_servers import DatabaseServer
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.servers import Servers
from tests.harness.waiting import wait_until_async
from tests.soak.judge import Begun, Row, Rules, violations
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
_HEAL_S = 90


class Replica:
    """One place in which a replica runs, again and again, over a way of its own to the database."""

    def __init__(self, name: str, *, way: CuttableWay, dsn: str, soak: Soak) -> None:
        self.name = name
        self.way = way
        self._dsn = dsn
        self._soak = soak
        self._starts = 0
        self.frozen = False
        self.process = self._start()

    def _start(self) -> ChildProcess:
        self._starts += 1
        folder = self._soak.folder / self.name  # stays: what one life leaves, the next one finds
        folder.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            **ENVIRONMENT,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PIKO_MYSQL_DSN": self._dsn,
            "PIKO_HTTP_PORT": str(free_port()),
            "PIKO_EXECUTOR": self._soak.executor,
            "SOAK_NOTES": str(self._soak.notes),
        }
        return ChildProcess(
            [sys.executable, "-m", "piko", "run", "tests.soak.app:app"],
            name=self.name,
            log=self._soak.folder / f"{self.name}.{self._starts}.log",
            reaper=self._soak.servers.reaper,
            environment=environment,
            cwd=folder,
        )

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


class Soak:
    """One soak from its start to the verdict."""

    def __init__(self, *, seconds: float, seed: int, replicas: int, executor: str) -> None:
        self.seconds = seconds
        self.executor = executor
        self._count = replicas
        self._chance = random.Random(seed)
        self.servers = Servers()
        self.folder = Path(tempfile.mkdtemp(prefix="piko-soak-"))
        self.notes = self.folder / "notes"
        self.notes.touch()
        self.replicas: list[Replica] = []
        self.happened: Counter[str] = Counter()
        self.set_back: list[tuple[str, datetime]] = []

    async def run(self) -> int:
        """0 where nothing was violated."""
        try:
            async with AsyncExitStack() as stack:
                self.server = DatabaseServer(
                    kind="mariadb", folder=self._database_folder(), reaper=self.servers.reaper
                )
                await asyncio.to_thread(self.server.start)
                stack.callback(self.server.kill)
                self.database = await self.server.create_database()
                await upgrade(self.database.dsn)
                await self._schedule()
                for number in range(self._count):
                    way, beyond = await stack.enter_async_context(cuttable(self.database))
                    replica = Replica(f"replica-{number}", way=way, dsn=beyond.dsn, soak=self)
                    self.replicas.append(replica)
                await self._until_all_run()
                first = [replica.memory_mb() for replica in self.replicas]
                await self._break_things()
                await self._heal()
                last = [replica.memory_mb() for replica in self.replicas]
                rows, begun = await self._rows(), self._begun()
                found = violations(RULES, rows, begun, set_back=self.set_back)
                self._print(rows, begun, first, last)
                for replica in self.replicas:
                    replica.process.kill()
        finally:
            for replica in self.replicas:
                replica.thaw()
                if replica.process.running:
                    replica.process.kill()
            self.servers.close()
        for text in found[:50]:
            print("VIOLATION", text)
        print(f"{len(found)} violations" if found else "nothing was violated", flush=True)
        if found:
            print(f"evidence and logs: {self.folder}")
        return 1 if found else 0

    def _database_folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="soak-", dir=self.servers.folder))

    async def _schedule(self) -> None:
        for job_id, (kind, expression) in SCHEDULES.items():
            values = (
                f"'{job_id}', '{kind}', '{json.dumps(expression)}', 0, 1000000, 1000000, 3600, 0.5, 100000"
            )
            await self.database.execute(
                "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, coalesce, "
                "history_successful, history_failed, misfire_grace_s, retry_backoff_s, "
                f"backfill_max_windows) VALUES ({values})"
            )

    async def _until_all_run(self) -> None:
        def all_noted() -> bool:
            return len({note.job_id for note in self._begun()}) == len(RULES)

        await wait_until_async(all_noted, timeout=60, what="every job to run")

    # ---- failures ---------------------------------------------------------------------------------

    async def _break_things(self) -> None:
        failures: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self.kill_a_replica),
            (3, self.stop_a_replica),
            (3, self.freeze_a_replica),
            (1, self.kill_all_replicas),
            (2, self.kill_the_database),
            (2, self.freeze_the_database),
            (3, self.cut_a_way),
            (3, self.swallow_answers),
            (2, self.swallow_questions),
            (2, self.slow_a_way),
            (3, self.cut_a_commit),
            (2, self.kill_connections),
            (2, self.edit_rows),
            (1, self.set_a_watermark_back),
        ]
        weights = [weight for weight, _ in failures]
        began = time.monotonic()
        while (passed := time.monotonic() - began) < self.seconds:
            await asyncio.sleep(self._chance.uniform(1, 8))
            (_, failure), *_ = self._chance.choices(failures, weights)
            name = failure.__name__
            self.happened[name] += 1
            print(f"{passed:7.1f} s  {name.replace('_', ' ')}", flush=True)
            await failure()

    async def kill_a_replica(self) -> None:
        replica = self._chance.choice(self.replicas)
        replica.thaw()
        replica.process.kill()
        await asyncio.sleep(self._chance.uniform(0, 5))
        replica.start()

    async def kill_all_replicas(self) -> None:
        for replica in self.replicas:
            replica.process.kill()
        await asyncio.sleep(self._chance.uniform(0, 3))
        for replica in self.replicas:
            replica.start()

    async def stop_a_replica(self) -> None:
        replica = self._chance.choice(self.replicas)
        if replica.process.running:
            await asyncio.to_thread(replica.process.terminate, timeout=60)
        await asyncio.sleep(self._chance.uniform(0, 3))
        replica.start()

    async def freeze_a_replica(self) -> None:
        replica = self._chance.choice(self.replicas)
        replica.freeze()
        await asyncio.sleep(self._chance.choice((1.0, 5.0, 9.0)))
        replica.thaw()

    async def kill_the_database(self) -> None:
        self.server.kill()
        await asyncio.sleep(self._chance.uniform(0, 6))
        await asyncio.to_thread(self.server.start)

    async def freeze_the_database(self) -> None:
        self.server.pause()
        await asyncio.sleep(self._chance.uniform(1, 8))
        self.server.resume()

    async def cut_a_way(self) -> None:
        way = self._chance.choice(self.replicas).way
        way.close()
        await asyncio.sleep(self._chance.uniform(1, 9))
        way.open()

    async def swallow_answers(self) -> None:
        way = self._chance.choice(self.replicas).way
        way.swallow(answers=True)
        await asyncio.sleep(self._chance.uniform(1, 9))
        way.close()  # what was swallowed does not come back: the connections end
        way.open()

    async def swallow_questions(self) -> None:
        way = self._chance.choice(self.replicas).way
        way.swallow(questions=True)
        await asyncio.sleep(self._chance.uniform(1, 9))
        way.close()
        way.open()

    async def slow_a_way(self) -> None:
        way = self._chance.choice(self.replicas).way
        way.delay_s = 0.5
        await asyncio.sleep(self._chance.uniform(2, 10))
        way.delay_s = 0.0

    async def cut_a_commit(self) -> None:
        for replica in self.replicas:
            replica.way.cut_next_commit()

    async def kill_connections(self) -> None:
        rows = await self.database.execute(
            "SELECT id FROM information_schema.processlist WHERE user = 'piko'"
        )
        own = (await self.database.execute("SELECT CONNECTION_ID()"))[0][0]
        for (number,) in rows:
            if number != own:
                try:
                    await self.database.execute(f"KILL {number}")
                except Exception as error:  # noqa: BLE001 - it may have gone by itself
                    print("          ", type(error).__name__)

    async def edit_rows(self) -> None:
        job_id = self._chance.choice(list(RULES))
        await self.database.execute(
            f"UPDATE scheduled_job SET version = version + 1, priority = {self._chance.randrange(5)} "
            f"WHERE job_id = '{job_id}'"
        )

    async def set_a_watermark_back(self) -> None:
        ((watermark,),) = await self.database.execute(
            "SELECT last_data_time FROM scheduled_job WHERE job_id = 'windows'"
        )
        if watermark is not None:
            moment = watermark - timedelta(seconds=self._chance.randrange(2, 10))
            self.set_back.append(("windows", moment))
            await self.database.execute(
                f"UPDATE scheduled_job SET last_data_time = '{moment}' WHERE job_id = 'windows'"
            )

    async def _heal(self) -> None:
        """Let all come back, fire nothing more, and wait until nothing is in progress."""
        for replica in self.replicas:
            replica.thaw()
            replica.way.open()
            replica.way.delay_s = 0.0
            replica.start()
        await asyncio.sleep(10)  # some last due times in peace
        await self.database.execute("UPDATE scheduled_job SET enabled = 0")

        async def quiet() -> bool:
            rows = await self.database.execute(
                "SELECT COUNT(*) FROM job_run WHERE state IN ('RUNNING', 'QUEUED')"
            )
            return int(rows[0][0]) == 0

        try:
            await wait_until_async(quiet, timeout=_HEAL_S, what="everything to have ended", interval=0.5)
        except AssertionError as failure:
            print(failure)  # the judge names what is stuck

    # ---- evidence ---------------------------------------------------------------------------------

    def _begun(self) -> list[Begun]:
        begun: dict[tuple[str, int], dict[str, Any]] = {}
        order: list[dict[str, Any]] = []
        for line in self.notes.read_text().splitlines():
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

    async def _rows(self) -> list[Row]:
        rows = await self.database.execute(
            "SELECT job_id, scheduled_time, run_id, attempt, state, missed_through, window_start, window_end "
            "FROM job_run ORDER BY job_id, scheduled_time, attempt"
        )
        return [Row(*row) for row in rows]

    def _print(self, rows: list[Row], begun: list[Begun], first: list[float], last: list[float]) -> None:
        states = Counter(row.state for row in rows)
        starts = sorted(note.at for note in begun)
        ticks = [note for note in begun if note.job_id.startswith("tick") and note.attempt == 1]
        delays = sorted(note.at - note.scheduled.replace(tzinfo=UTC).timestamp() for note in ticks)
        print("failures:", ", ".join(f"{name} {count}" for name, count in sorted(self.happened.items())))
        print("rows:", ", ".join(f"{state} {count}" for state, count in sorted(states.items())))
        print("retries that began:", sum(note.attempt > 1 for note in begun))
        print("processes that began runs:", len({note.pid for note in begun}))
        print(f"longest time without a start: {max(b - a for a, b in pairwise(starts)):.1f} s")
        marks = [delays[int(len(delays) * part)] for part in (0.5, 0.9, 0.99)]
        print(
            f"start delay of {len(delays)} ticks: median {marks[0]:.3f} s, p90 {marks[1]:.3f} s, "
            f"p99 {marks[2]:.2f} s, most {delays[-1]:.2f} s, mean {statistics.mean(delays):.3f} s"
        )
        sizes = (" ".join(f"{size:.0f}" for size in each) for each in (first, last))
        print("memory of the replicas at the beginning and the end, MB:", " / ".join(sizes))


def _stored(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--executor", choices=["leader", "replicas"], default="leader")
    options = parser.parse_args()
    print("soak:", " ".join(f"--{name} {value}" for name, value in vars(options).items()), flush=True)
    return asyncio.run(Soak(**vars(options)).run())


if __name__ == "__main__":
    sys.exit(main())
