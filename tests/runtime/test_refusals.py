"""What a person reads who got it wrong: what, where, the value, what was expected, what to do."""

from __future__ import annotations

import socket

import pytest

from tests.harness.databases import TestDatabase
from tests.runtime.replicas import Replicas

DSN = "sqlite+aiosqlite:////nonexistent/piko.db"

STARTS = {
    "no DSN": (
        {"PIKO_MYSQL_DSN": ""},
        ["piko: setting `mysql_dsn`", "expected the form mysql+asyncmy://"],
    ),
    "malformed DSN": (
        {"PIKO_MYSQL_DSN": "mysql//piko:hunter2@db"},
        ["piko: setting `mysql_dsn` is not a database URL", "expected the form mysql+asyncmy://"],
    ),
    "driver without a server": (
        {"PIKO_MYSQL_DSN": "postgresql://piko:hunter2@db/piko"},
        ["driver 'postgresql' is not supported", "mysql+asyncmy"],
    ),
    "unknown setting": (
        {"PIKO_LEADER_LEASE": "30"},
        ["unknown setting `leader_lease` (in the environment as PIKO_LEADER_LEASE)", "leader_lease_s"],
    ),
    "malformed setting": (
        {"PIKO_POLL_INTERVAL_S": "often"},
        ["setting `poll_interval_s` = 'often' (in the environment as PIKO_POLL_INTERVAL_S)", "valid number"],
    ),
    "lease shorter than its renewal": (
        {"PIKO_LEADER_LEASE_S": "5", "PIKO_LEADER_RENEW_INTERVAL_S": "4"},
        ["leader_lease_s = 5 must be at least twice leader_renew_interval_s = 4"],
    ),
}


@pytest.mark.parametrize(("environment", "expected"), STARTS.values(), ids=STARTS)
def test_settings_that_cannot_work_end_the_start_with_one_message(
    environment: dict[str, str], expected: list[str], replicas: Replicas
) -> None:
    replica = replicas.start(DSN, "app.py", environment=environment)
    assert replica.process.wait() == 2
    for part in expected:
        assert part in replica.process.output
    assert "hunter2" not in replica.process.output
    assert "Traceback" not in replica.process.output


def test_under_an_asgi_server_the_message_stands_before_its_traceback(replicas: Replicas) -> None:
    replica = replicas.start(
        DSN, "-m", "uvicorn", "app:api_app", "--port", "{port}", environment={"PIKO_MYSQL_DSN": "mysql//x"}
    )
    assert replica.process.wait() == 3
    before, _, _ = replica.process.output.partition("Traceback")
    assert "piko: setting `mysql_dsn` is not a database URL" in before


def test_a_port_that_is_taken_is_named(replicas: Replicas, sqlite: TestDatabase) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        replica = replicas.start(sqlite.dsn, environment={"PIKO_HTTP_PORT": port})
        assert replica.process.wait() == 2
    assert f"`http_port` = {port}: cannot listen there" in replica.process.output
    assert "set PIKO_HTTP_HOST or PIKO_HTTP_PORT" in replica.process.output


MODULES = {
    "a handler that is not async": (
        "from piko import PikoApp\napp = PikoApp('x')\n"
        "@app.job('a')\ndef handler(ctx, scheduled_time): ...\n",
        ["job 'a'", "app.py:3", "the handler is not async", "async def handler(ctx, scheduled_time)"],
    ),
    "two jobs with one id": (
        "from piko import PikoApp\napp = PikoApp('x')\n"
        "@app.job('a')\nasync def one(ctx, scheduled_time): ...\n"
        "@app.job('a')\nasync def two(ctx, scheduled_time): ...\n",
        ["job 'a'", "app.py:5", "the id is already taken by", "app.py:3"],
    ),
    "no app": ("x = 1\n", ["expected 'app' in", "to be a PikoApp, but there is no such name"]),
    "another name": (
        "from piko import PikoApp\norders = PikoApp('x')\n",
        ["expected 'app' in", "the module has app:orders"],
    ),
    "a module that fails": ("import nowhere\n", ["importing app failed", "No module named 'nowhere'"]),
}


@pytest.mark.parametrize(("source", "expected"), MODULES.values(), ids=MODULES)
def test_code_that_cannot_run_is_refused_with_one_message(
    source: str, expected: list[str], replicas: Replicas
) -> None:
    replicas.write(source)
    replica = replicas.start(DSN)
    assert replica.process.wait() == 2
    for part in expected:
        assert part in replica.process.output
    assert "Traceback" not in replica.process.output


def test_a_module_that_is_not_there_is_named_with_the_form_that_is_expected(replicas: Replicas) -> None:
    replica = replicas.start(DSN, "-m", "piko", "run", "jobs:app")
    assert replica.process.wait() == 2
    assert "no module 'jobs' in" in replica.process.output
    assert "expected MODULE:ATTRIBUTE" in replica.process.output


@pytest.mark.parametrize(
    ("source", "environment", "expected"),
    [
        ("from piko import PikoApp\napp = PikoApp('x')\n", {"PIKO_LEADER_NAME": "n" * 256}, "`leader_name`"),
        ("from piko import PikoApp\napp = PikoApp('x' * 256)\n", {}, "the name has 256 characters"),
        (
            "from piko import PikoApp\napp = PikoApp('x')\nasync def f(ctx, scheduled_time): ...\n"
            "f.__qualname__ = 'f' * 600\napp.job('a')(f)\n",
            {},
            "the handler's name has",
        ),
    ],
)
def test_a_name_that_does_not_fit_its_column_is_refused_before_anything_runs(
    source: str, environment: dict[str, str], expected: str, replicas: Replicas
) -> None:
    replicas.write(source)
    replica = replicas.start(DSN, environment=environment)
    assert replica.process.wait() == 2
    assert expected in replica.process.output
    assert "Traceback" not in replica.process.output
