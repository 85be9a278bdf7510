"""What a run shows of the records that it wrote, and how a replica stops with sinks in trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from piko import PikoApp
from piko.core.resource import resource
from piko.persistence.intent import WriteIntent
from piko.settings import Settings, load_settings
from piko.spool.intents import look
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase, migrate
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.persistence.writing import Remembering
from tests.runtime.replicas import schedule


def quick_settings(database: TestDatabase, folder: Path) -> Settings:
    return load_settings(
        environment={},
        directory=folder,
        mysql_dsn=database.dsn,
        spool_dir=folder / "spool",
        poll_interval_s=0.1,
    )


def in_spool(folder: Path) -> dict[str, int]:
    (path,) = folder.glob("*.spool")
    return look(path)[0]


async def test_a_run_whose_records_were_refused_says_so_and_stays_a_success(
    database: TestDatabase, tmp_path: Path
) -> None:
    await migrate(database)
    await schedule(database, "load")
    app = PikoApp(name="trial")
    sink = Remembering("picky")
    app.writer.register_sink(sink)

    @app.job(job_id="load")
    async def load(ctx: Any, scheduled_time: datetime) -> None:
        sink.refuses |= {f"bad-{ctx['run_id']}-{number}" for number in range(2)}
        for key in (f"good-{ctx['run_id']}", *sorted(sink.refuses - {"good"})):
            if ctx["run_id"] in key:
                await app.writer.enqueue(
                    WriteIntent(
                        sink="picky",
                        key=key,
                        payload=None,
                        job_id=ctx["job_id"],
                        run_id=ctx["run_id"],
                        scheduled_time=scheduled_time,
                    )
                )

    async def reported() -> Any:
        rows = await database.execute("SELECT run_id, state, error FROM job_run WHERE error IS NOT NULL")
        return [tuple(row) for row in rows if "2 by" in row[2]]

    async with app.running(quick_settings(database, tmp_path)):
        ((run_id, state, error), *_) = await wait_until_async(reported, what="a run that says so")
    assert state == "SUCCESS"
    assert error == f"records refused: 2 by sink picky; piko spool list --run {run_id}"


async def test_a_stop_keeps_everything_whatever_sinks_and_resources_do_at_their_close(
    sqlite: TestDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await upgrade(sqlite.dsn)
    await schedule(sqlite, "load")
    app = PikoApp(name="trial")
    closed: list[str] = []

    class Rude(Remembering):
        async def close(self) -> None:
            closed.append(self.name)
            raise KeyboardInterrupt

    for name in ("one", "two"):
        sink = Rude(name)
        sink.down = True
        app.writer.register_sink(sink)

    @resource(scope="app")
    @asynccontextmanager
    async def hanging(ctx: Any) -> AsyncIterator[str]:
        yield "held"
        closed.append("hanging")
        await asyncio.Event().wait()

    @resource(scope="app")
    @asynccontextmanager
    async def good(ctx: Any) -> AsyncIterator[str]:
        yield "held"
        closed.append("good")

    taken = asyncio.Event()

    @app.job(job_id="load", resources={"good": good, "hanging": hanging})
    async def load(ctx: Any, scheduled_time: datetime, good: str, hanging: str) -> None:
        if not taken.is_set():
            for name in ("one", "two"):
                await app.writer.enqueue(
                    WriteIntent(
                        sink=name,
                        key="1",
                        payload=None,
                        job_id=ctx["job_id"],
                        run_id=ctx["run_id"],
                        scheduled_time=scheduled_time,
                    )
                )
        taken.set()

    async with app.running(quick_settings(sqlite, tmp_path)):
        await asyncio.wait_for(taken.wait(), PATIENCE_S)
    assert in_spool(tmp_path / "spool") == {"one": 1, "two": 1}
    assert sorted(closed) == ["good", "hanging", "one", "two"]
    out = capsys.readouterr().out
    for what in ("sink one", "sink two", "hanging"):
        assert any("not_closed" in line and what in line for line in out.splitlines()), what
    assert "stopped" in out
