"""Traces by real replicas: a run keeps its trace over a crash of the leader, a backfill and a request."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.piko import piko
from tests.harness.databases import TestDatabase, migrate
from tests.harness.lines import whole_lines
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import APP, Replicas, leader_of, schedule, until_runs

SETS_UP = """
import os
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

spans = open(os.environ["SPANS"], "a")
provider = TracerProvider()
exporter = ConsoleSpanExporter(out=spans, formatter=lambda span: span.to_json(indent=None) + chr(10))
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
"""
ASKED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = "0x4bf92f3577b34da6a3ce929d0e0e4736"
TELLS = """
import sys
from piko import PikoApp

app = PikoApp(name="trial")

@app.job(job_id="tells")
async def tells(ctx, scheduled_time):
    await app.cpu_manager.submit(abs, -1)
    print("loaded:", *sorted(name for name in sys.modules if "opentelemetry" in name), flush=True)
"""


@dataclass(frozen=True, slots=True)
class SpanFile:
    """Where replicas write the spans that have ended."""

    path: Path

    def named(self, name: str, **attributes: Any) -> list[dict[str, Any]]:
        """Those of that name that have these attributes, dots written as `__`."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        spans = [json.loads(line) for line in whole_lines(self.path)]
        return [
            span for span in spans if span["name"] == name and wanted.items() <= span["attributes"].items()
        ]

    async def until(self, name: str, **attributes: Any) -> list[dict[str, Any]]:
        what = f"a span {name!r} with {attributes}"
        found: list[dict[str, Any]] = await wait_until_async(
            lambda: self.named(name, **attributes), what=what
        )
        return found


@pytest.fixture
def spans(tmp_path: Path) -> SpanFile:
    path = tmp_path / "spans"
    path.touch()
    return SpanFile(path)


@pytest.fixture
def traced(replicas: Replicas, spans: SpanFile) -> Replicas:
    """Replicas that trace into one file."""
    replicas.write(SETS_UP + APP)
    return replace(replicas, settings={"SPANS": str(spans.path)})


def trace_of(span: dict[str, Any]) -> str:
    return str(span["context"]["trace_id"])


async def test_a_run_of_a_killed_leader_runs_again_within_its_trace(
    traced: Replicas, spans: SpanFile, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    environment = {"SLOW_UNTIL": "set free"}
    pair = [traced.start(database.dsn, name=name, environment=environment) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    await schedule(database, "slow", '{"seconds": 1}', max_attempts=2, overlap_policy="skip")
    leader.process.wait_for_line("slow begins 1")
    (lost,) = await database.execute(
        "SELECT run_id, traceparent FROM job_run WHERE job_id = 'slow' AND state = 'RUNNING'"
    )
    leader.process.kill()
    (traced.folder / "set free").touch()
    await until_runs(database, "slow", 1, state="LOST")
    standby.process.wait_for_line("slow begins 2")
    (again, *_) = await spans.until("run slow", piko__run__attempt=2)
    (first,) = spans.named("claim slow", piko__run__id=lost[0])
    assert lost[1].split("-")[1:3] == [trace_of(first)[2:], first["context"]["span_id"][2:]]
    assert trace_of(again) == trace_of(first)
    assert spans.named("run slow", piko__run__id=lost[0]) == [], "the span that was lost with its process"
    (claimed_again,) = spans.named("claim slow", piko__run__id=again["attributes"]["piko.run.id"])
    assert again["parent_id"] == claimed_again["context"]["span_id"]
    assert claimed_again["parent_id"] == first["context"]["span_id"]
    (line,) = [
        json.loads(line)
        for line in standby.process.output.splitlines()
        if '"run_started"' in line and again["attributes"]["piko.run.id"] in line
    ]
    assert line["trace_id"] == trace_of(first)[2:]


@pytest.mark.parametrize("executor", ["leader", "replicas"])
async def test_what_is_asked_for_within_a_trace_runs_within_it(
    executor: str, traced: Replicas, spans: SpanFile, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    await schedule(database, "quick", '{"seconds": 360000}')
    await schedule(database, "windows", '{"seconds": 3600}')
    replica = traced.start(database.dsn, environment={"PIKO_EXECUTOR": executor})
    await replica.until_ready()
    within: dict[str, Any] = {"cwd": traced.folder, "dsn": database.dsn, "TRACEPARENT": ASKED}
    triggered = await asyncio.to_thread(piko, "trigger", "quick", **within)
    assert triggered.code == 0, triggered.err
    (ran,) = await spans.until("run quick", piko__run__trigger="manual")
    begin, end = "2026-01-08T00:00:00Z", "2026-01-08T03:00:00Z"
    asked = await asyncio.to_thread(piko, "backfill", "windows", "--from", begin, "--to", end, **within)
    assert asked.code == 0, asked.err

    def all_windows() -> list[dict[str, Any]] | None:
        found = spans.named("run windows", piko__run__trigger="backfill")
        return found if len(found) == 3 else None

    windows = await wait_until_async(all_windows, what="the span of each window")
    assert {trace_of(span) for span in (ran, *windows)} == {TRACE}
    recorded = await spans.until("record outcomes")
    linked = {link["context"]["span_id"] for span in recorded for link in span["links"]}
    assert ran["context"]["span_id"] in linked


async def test_a_replica_that_traces_nothing_imports_nothing_for_it(
    replicas: Replicas, sqlite: TestDatabase
) -> None:
    await migrate(sqlite)
    await schedule(sqlite, "tells")
    replicas.write(TELLS)
    replica = replicas.start(sqlite.dsn)
    line = replica.process.wait_for_line("loaded:")
    assert '"event": "loaded:"' in line
    assert await sqlite.execute("SELECT DISTINCT traceparent FROM job_run") == [(None,)]
