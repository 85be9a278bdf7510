"""An app is declared as one would guess, and says so where it is left out or started in the wrong place."""

from __future__ import annotations

import asyncio
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from piko import PikoApp
from piko.errors import PikoError, RegistrationError
from piko.settings import Settings
from tests.harness.programs import PikoProcessFactory


def job_ids(app: PikoApp) -> list[str]:
    return [job.job_id for job in app.registry]


def test_a_job_without_an_id_is_called_as_its_function() -> None:
    app = PikoApp("trial")

    @app.job
    async def bare(ctx: object, scheduled_time: object) -> None: ...

    @app.job()
    async def called(ctx: object, scheduled_time: object) -> None: ...

    @app.job(stateful=True)
    async def with_options(ctx: object, scheduled_time: object) -> None: ...

    @app.job("given")
    async def by_position(ctx: object, scheduled_time: object) -> None: ...

    assert job_ids(app) == ["bare", "called", "with_options", "given"]
    assert asyncio.iscoroutinefunction(bare), "the function stays what it was"


def test_what_is_wrong_with_a_bare_job_is_reported_like_anything_else() -> None:
    app = PikoApp("trial")
    with pytest.raises(RegistrationError, match="the handler is not async"):

        @app.job  # type: ignore[type-var]
        def blocking(ctx: object, scheduled_time: object) -> None: ...

    with pytest.raises(RegistrationError, match="job_id must be 1 to 128 characters"):
        app.job("")(_handler)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"timeout": 5}, "app.job has no argument 'timeout'; write timeout_s = …"),
        ({"zone": "UTC"}, "app.job has no argument 'zone'; it takes job_id, schema, resources, stateful"),
        ({"job_id": 7}, "job_id must be 1 to 128 characters"),
        ({"backfill_policy": []}, "backfill_policy = [] must be BackfillPolicy.CATCH_UP or"),
        ({"resources": ["db"]}, "resources = ['db'] must map each further parameter"),
        ({"stateful": 1}, "stateful = 1 must be True or False"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_with_the_job_and_its_place(
    arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(RegistrationError) as caught:
        PikoApp("trial").job(**arguments)(_handler)

    assert expected in str(caught.value)
    assert f"({__file__}:{_handler.__code__.co_firstlineno})" in str(caught.value)


async def _handler(ctx: object, scheduled_time: object) -> None: ...


async def test_run_within_an_event_loop_says_what_to_do() -> None:
    with pytest.raises(PikoError, match=r"in a running event loop.*async with app\.running\(\)"):
        PikoApp("trial").run()


def test_run_off_the_main_thread_says_what_to_do() -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            PikoApp("trial").run()
        except PikoError as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="mine")
    thread.start()
    thread.join()
    assert "in thread 'mine'; it needs the main thread" in str(raised[0])


async def test_an_app_without_jobs_says_so_when_it_starts(tmp_path: Path) -> None:
    app = PikoApp("empty")
    settings = Settings(
        mysql_dsn=f"sqlite+aiosqlite:///{tmp_path}/none/piko.db",
        spool_dir=tmp_path / "spool",
    )
    with capture_logs() as events:
        async with app.running(settings):
            pass
    (event,) = [event for event in events if event["event"] == "no_jobs"]
    assert event["log_level"] == "warning"
    assert "@app.job" in event["remedy"]


# ---- a program that does not run what it declares ---------------------------------------------------

DECLARES = """
from piko import PikoApp

app = PikoApp(name="orders")

@app.job
async def sync(ctx, scheduled_time): ...
"""


@pytest.mark.parametrize(
    ("source", "reminded"),
    [
        (DECLARES, True),
        (DECLARES + "api_app = app.api_app\n", False),
        (DECLARES + "1 / 0\n", False),
        ("from elsewhere import app\n", False),
        (
            DECLARES
            + "import asyncio\nasync def main():\n    async with app.running(): pass\nasyncio.run(main())\n",
            False,
        ),
        (
            "import asyncio\nasync def main():\n"
            + textwrap.indent(DECLARES + "async with app.running(): pass\n", "    ")
            + "    return app\nkept = [asyncio.run(main())]\n",
            False,
        ),
    ],
    ids=["left out", "served by another", "failed", "imported", "run within", "made within"],
)
def test_a_program_that_ends_without_running_its_app_says_so(
    source: str, reminded: bool, tmp_path: Path, piko_process: PikoProcessFactory
) -> None:
    (tmp_path / "app.py").write_text(source)
    (tmp_path / "elsewhere.py").write_text(DECLARES)
    process = piko_process(
        "app.py", cwd=tmp_path, env={"PIKO_MYSQL_DSN": f"sqlite+aiosqlite:///{tmp_path}/piko.db"}
    )
    assert process.wait() == (1 if "1 / 0" in source else 0)
    assert ("PikoApp 'orders' and ended without running it" in process.output) is reminded
    assert not reminded or "`app.run()`" in process.output
