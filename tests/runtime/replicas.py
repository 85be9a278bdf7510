"""Replicas as processes of their own, and what they did according to the database."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import ANSWER_S, PATIENCE_S, wait_until_async

APP = """
import asyncio, os
from pydantic import BaseModel
from piko import PikoApp

app = PikoApp(name="trial")
api_app = app.api_app

class Greeting(BaseModel):
    name: str = "nobody"

@app.job(job_id="quick", schema=Greeting)
async def quick(ctx, scheduled_time):
    print("quick", ctx["attempt"], ctx["config"].name, scheduled_time.isoformat(), flush=True)

@app.job(job_id="slow")
async def slow(ctx, scheduled_time):
    print("slow begins", ctx["attempt"], flush=True)
    if "SLOW_UNTIL" in os.environ:
        while not os.path.exists(os.environ["SLOW_UNTIL"]):
            await asyncio.sleep(0.05)
    else:
        await asyncio.sleep(float(os.environ.get("SLOW_S", "2")))
    print("slow ends", flush=True)

@app.job(job_id="windows", stateful=True)
async def windows(ctx, scheduled_time):
    print("window", ctx["data_interval"].start.isoformat(), ctx["data_interval"].end.isoformat(), flush=True)

if __name__ == "__main__":
    app.run()
"""

# Short enough for a test to see a change of leader; long enough for a process that a busy machine lets stand
# still for some seconds, which is then neither deposed nor given up.
QUICK = {
    "PIKO_LEADER_LEASE_S": "10",
    "PIKO_LEADER_RENEW_INTERVAL_S": "1",
    "PIKO_POLL_INTERVAL_S": "0.2",
    "PIKO_HEARTBEAT_INTERVAL_S": "5",
}
LONG_AGO = "2026-01-01 00:00:00"
"""For `updated_at`: a row is always early enough for its instants if it was written then."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One process that runs an app."""

    process: ChildProcess
    port: int

    def get(self, path: str, *, accept: str = "*/*", timeout: float = PATIENCE_S) -> tuple[int, str]:
        """Status and body; (0, "") while nobody listens, or where the answer is cut off.

        `timeout`: seconds to wait for the answer; fewer where the test asks again.
        """
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            return _answer(urllib.request.Request(url, headers={"Accept": accept}), timeout)
        except (OSError, HTTPException):
            return 0, ""

    async def until_ready(self, body: str = "leader") -> None:
        await self.until("/readyz", 200, body)

    async def until(self, path: str, status: int, text: str) -> None:
        def answers() -> bool:
            found, body = self.get(path, timeout=ANSWER_S)
            return found == status and text in body

        try:
            await wait_until_async(answers, what=f"{path} to answer {status} with {text!r}")
        except AssertionError as failure:
            failure.add_note(f"last answer: {self.get(path)}")
            raise


def _answer(request: urllib.request.Request, timeout: float) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@dataclass(frozen=True, slots=True)
class Replicas:
    """Starts replicas of one app in one folder."""

    start_process: PikoProcessFactory
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """In the environment of each."""

    def write(self, source: str = APP, *, name: str = "app.py") -> None:
        (self.folder / name).write_text(source)

    def start(
        self,
        dsn: str,
        *command: str,
        name: str = "replica",
        environment: Mapping[str, str] | None = None,
    ) -> Replica:
        """Start `command` (default `piko run app:app`); `{port}` in it is the port of its probes."""
        port = free_port()
        arguments = [part.format(port=port) for part in command or ("-m", "piko", "run", "app:app")]
        process = self.start_process(
            *arguments,
            env={
                **QUICK,
                "PIKO_MYSQL_DSN": dsn,
                "PIKO_HTTP_PORT": str(port),
                **self.settings,
                **(environment or {}),
            },
            name=name,
            cwd=self.folder,
        )
        return Replica(process=process, port=port)


async def leader_of(*replicas: Replica) -> tuple[Replica, Replica]:
    """The replica that leads, and the other."""

    def roles() -> list[str] | None:
        found = [replica.get("/readyz", timeout=ANSWER_S)[1].strip() for replica in replicas]
        return found if sorted(found) == ["leader", "standby"] else None

    found = await wait_until_async(roles, what="one leader and one standby")
    first, second = replicas
    return (first, second) if found[0] == "leader" else (second, first)


async def schedule(
    database: TestDatabase, job_id: str, expression: str = '{"seconds": 1}', **columns: Any
) -> None:
    """Insert a row as a person would."""
    values = {
        "job_id": job_id,
        "schedule_type": "interval",
        "schedule_expr": expression,
        "enabled": 1,
        "version": 1,
        **columns,
    }
    names = ", ".join(values)
    literals = ", ".join(
        "NULL" if value is None else str(value) if isinstance(value, int | float) else f"'{value}'"
        for value in values.values()
    )
    await database.execute(f"INSERT INTO scheduled_job ({names}) VALUES ({literals})")


async def runs(database: TestDatabase, job_id: str, state: str | None = None) -> list[Any]:
    """scheduled_time, state and attempt of each run, in order."""
    condition = "" if state is None else f" AND state = '{state}'"
    rows = await database.execute(
        "SELECT scheduled_time, state, attempt FROM job_run "
        f"WHERE job_id = '{job_id}'{condition} ORDER BY scheduled_time, attempt"
    )
    return [tuple(row) for row in rows]


async def begun_runs(database: TestDatabase, job_id: str) -> list[Any]:
    """`runs` without the instants that coalesced, of which a slow start has some before its first run."""
    return [row for row in await runs(database, job_id) if row[1] != "SKIPPED"]


async def until_runs(database: TestDatabase, job_id: str, count: int, *, state: str = "SUCCESS") -> list[Any]:
    """Wait for at least `count` runs in `state`."""

    async def enough() -> list[Any] | None:
        found = await runs(database, job_id, state)
        return found if len(found) >= count else None

    return await wait_until_async(enough, what=f"{count} runs of {job_id} in {state}")


def times_run_twice(rows: list[Any]) -> list[Any]:
    """Due times that succeeded more than once."""
    done = Counter(scheduled_time for scheduled_time, state, _ in rows if state == "SUCCESS")
    return [moment for moment, count in done.items() if count > 1]
