"""`run_job` calls a handler as a replica does, and says how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from piko import JobContext, PikoApp, WriteIntent
from piko.core.types import RunState
from piko.errors import ConfigError, InputError, PayloadError, PikoError
from piko.testing import run_job
from tests.persistence.writing import Remembering

WINDOW = "2026-03-01T00:00Z/2026-03-01T01:00Z"


class Limits(BaseModel):
    rows: int = 3


@asynccontextmanager
async def connection() -> AsyncGenerator[str, None]:
    yield "real"


@pytest.fixture
def app() -> PikoApp:
    made = PikoApp("trial")
    made.writer.register_sink(Remembering("rows"))

    @made.job(schema=Limits, stateful=True, resources={"db": connection}, timeout_s=60)
    async def sync(ctx: JobContext[Limits], scheduled_time: datetime, db: str) -> dict[str, Any]:
        for number in range(ctx.config.rows):
            await ctx.write("rows", str(number), {"number": number})
        ctx.record(db=db, attempt=ctx.attempt)
        return {"due": scheduled_time.isoformat()}

    @made.job
    async def breaks(ctx: JobContext, scheduled_time: datetime) -> None:
        ctx.record(rows=1)
        raise ValueError("the second row")

    @made.job
    async def writes_by_hand(ctx: JobContext, scheduled_time: datetime) -> None:
        row = WriteIntent(
            sink="rows",
            key="1",
            payload={},
            job_id=ctx.job_id,
            run_id=ctx.run_id,
            scheduled_time=scheduled_time,
        )
        await made.writer.enqueue_many([row])
        await ctx.write("elsewhere", "2", {})

    @made.job(timeout_s=0.01)
    async def hangs(ctx: JobContext, scheduled_time: datetime) -> None:
        await asyncio.Event().wait()

    return made


def test_a_run_has_its_config_its_resources_and_its_window(app: PikoApp) -> None:
    run = run_job(app, "sync", window=WINDOW, config={"rows": 2}, attempt=2)
    assert (run.state, run.error) == (RunState.SUCCESS, None)
    assert run.payloads("rows") == [{"number": 0}, {"number": 1}]
    assert run.result == {"db": "real", "attempt": 2, "due": "2026-03-01T01:00:00+00:00"}


def test_a_resource_may_be_replaced_by_a_value(app: PikoApp) -> None:
    assert run_job(app, "sync", window=WINDOW, resources={"db": "mine"}).result["db"] == "mine"


def test_what_a_handler_raises_is_its_outcome(app: PikoApp) -> None:
    run = run_job(app, "breaks")
    assert (run.state, run.error_type, run.result) == (RunState.FAILED, "ValueError", {"rows": 1})
    assert (run.error or "").startswith("ValueError: the second row\nTraceback")


def test_a_timeout_ends_a_run(app: PikoApp) -> None:
    assert run_job(app, "hangs").state is RunState.TIMEOUT


def test_what_the_writer_takes_is_kept_and_an_unknown_sink_is_refused(app: PikoApp) -> None:
    run = run_job(app, "writes_by_hand")
    assert [intent.key for intent in run.intents["rows"]] == ["1"]
    assert run.error_type == PayloadError.__name__
    assert "no sink 'elsewhere' is registered; registered sinks: rows" in (run.error or "")


@pytest.mark.parametrize(
    ("job_id", "arguments", "expected"),
    [
        ("snyc", {}, "app 'trial' has no job 'snyc'"),
        ("sync", {}, 'the job is stateful, so it needs a window: window="2026'),
        ("breaks", {"window": WINDOW}, "the job is not stateful; leave `window` out"),
        ("sync", {"window": "today"}, "window = 'today': expected START/END"),
        ("sync", {"window": "2026-03-01T00:00/2026-03-01T01:00"}, "has no offset"),
        ("sync", {"window": "2026-03-01T01:00Z/2026-03-01T01:00Z"}, "its end must be after its start"),
        ("sync", {"window": WINDOW, "resources": {"dB": 1}}, "the job has no resource 'dB'; it has db"),
    ],
)
def test_arguments_that_do_not_fit_the_job_are_refused(
    app: PikoApp, job_id: str, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        run_job(app, job_id, **arguments)
    assert expected in str(caught.value)


def test_a_config_that_the_model_refuses_is_an_error(app: PikoApp) -> None:
    with pytest.raises(ConfigError, match="rows"):
        run_job(app, "sync", window=WINDOW, config={"rows": "many"})


async def test_in_a_running_loop_it_says_what_to_do(app: PikoApp) -> None:
    with pytest.raises(PikoError, match=r"await asyncio\.to_thread\(run_job, …\)"):
        run_job(app, "breaks")
    assert (await asyncio.to_thread(run_job, app, "breaks")).state is RunState.FAILED


def test_a_due_time_may_be_given(app: PikoApp) -> None:
    due = datetime(2026, 3, 2, tzinfo=UTC)
    assert run_job(app, "sync", window=WINDOW, scheduled_time=due).result["due"] == due.isoformat()
