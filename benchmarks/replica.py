"""The app of benchmarks with several replicas: jobs that note when they start, in a file that all share."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper

from piko import PikoApp

ROOT = Path(__file__).parents[1]
"""The checkout that measures."""
NOTES, JOBS, TAKES = "BENCHMARK_NOTES", "BENCHMARK_JOBS", "BENCHMARK_TAKES_S"


@dataclass(frozen=True, slots=True)
class Start:
    """One call of a handler; times are seconds since 1970."""

    job_id: str
    due: float
    at: float
    pid: int

    @property
    def delay_ms(self) -> float:
        return (self.at - self.due) * 1000


def make_app(notes: Path, *, jobs: int, takes_s: float) -> PikoApp:
    """`jobs` jobs that wait for `takes_s` seconds, as for an answer of another service."""
    app = PikoApp(name="benchmark")
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handler(ctx: Any, scheduled_time: datetime) -> None:
        line = f"{ctx.job_id} {scheduled_time.timestamp()} {time.time()} {os.getpid()}\n"
        os.write(file, line.encode())
        await asyncio.sleep(takes_s)

    for number in range(jobs):
        app.job(job_id=f"job-{number}")(handler)
    return app


def starts(notes: Path) -> list[Start]:
    """What the handlers have noted, in the order in which they started."""
    found = []
    for line in notes.read_text().splitlines():
        job_id, due, at, pid = line.split()
        found.append(Start(job_id, float(due), float(at), int(pid)))
    return sorted(found, key=lambda start: start.at)


@contextmanager
def running(
    dsn: str,
    notes: Path,
    *,
    jobs: int,
    takes_s: float,
    reaper: Reaper,
    settings: Mapping[str, str],
    name: str,
    app: str = "benchmarks.replica:app",
    code: Path = ROOT,
) -> Iterator[ChildProcess]:
    """A replica of `app` as a process, by the checkout `code`, which ends with the block at the latest."""
    process = ChildProcess(
        [sys.executable, "-m", "piko", "run", app],
        name=name,
        log=notes.with_name(f"{name}.log"),
        reaper=reaper,
        environment={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(code / "runtime"), str(ROOT)]),
            "PIKO_MYSQL_DSN": dsn,
            "PIKO_HTTP_PORT": str(free_port()),
            "PIKO_SPOOL_DIR": str(notes.with_name(f"{name}.spool")),
            "PIKO_LOG_FORMAT": "json",
            NOTES: str(notes),
            JOBS: str(jobs),
            TAKES: str(takes_s),
            **{f"PIKO_{key.upper()}": value for key, value in settings.items()},
        },
    )
    try:
        yield process
    finally:
        if process.running:
            process.kill()


if NOTES in os.environ:  # a replica that `running` has started
    app = make_app(Path(os.environ[NOTES]), jobs=int(os.environ[JOBS]), takes_s=float(os.environ[TAKES]))
