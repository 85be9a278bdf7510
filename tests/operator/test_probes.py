"""Probes of an operator whose API server is away, and how it is stopped."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from piko.clock import SystemClock
from piko.serving.probes import Message, Probes
from piko.store.schema.migrate import upgrade
from piko_operator.metrics import OperatorMetrics
from piko_operator.probes import Pulse, operator_probes
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until, wait_until_async
from tests.leadership.clocks import MovableClock
from tests.serving.sockets import ask, connect

NO_CLUSTER = """
apiVersion: v1
kind: Config
current-context: away
contexts: [{{name: away, context: {{cluster: away, user: nobody}}}}]
clusters: [{{name: away, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: nobody, user: {{token: none}}}}]
"""


@pytest.fixture
async def operator(
    sqlite: TestDatabase, piko_process: PikoProcessFactory, tmp_path: Path
) -> tuple[ChildProcess, int]:
    """The process and the port of its probes."""
    await upgrade(sqlite.dsn)
    kubeconfig, port = tmp_path / "away.kubeconfig", free_port()
    kubeconfig.write_text(NO_CLUSTER.format(port=free_port()))
    process = piko_process(
        "-m",
        "piko_operator",
        env={
            "KUBECONFIG": str(kubeconfig),
            "PIKO_MYSQL_DSN": sqlite.dsn,
            "PIKO_OPERATOR_HTTP_PORT": str(port),
            "PIKO_OPERATOR_HTTP_HOST": "::",
        },
        name="operator",
    )
    process.wait_for_line("operator_started")
    return process, port


def test_probes_come_through_half_open_connections_and_say_what_is_away(
    operator: tuple[ChildProcess, int],
) -> None:
    process, port = operator
    began = time.monotonic()
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connect(port, b"GET /healthz HTTP/1.1\r\n"))
        assert ask(port) == (200, "ok\n")
        assert ask(port, method="HEAD") == (200, "")

        def says_why() -> bool:
            status, body = ask(port, "/readyz")
            return status == 503 and bool(body.strip())

        wait_until(says_why, what="/readyz to say what is missing")
        dropped = 'piko_operator_http_connections_dropped_total{why="full"}'
        assert dropped in ask(port, "/metrics")[1]
    dropped_lines = process.output.count("http_connection_dropped")
    minutes = 1 + (time.monotonic() - began) // 60
    assert dropped_lines <= 2 * minutes, "one of each kind a minute"
    assert process.terminate() == 0
    assert "operator_stopped" in process.output


async def test_a_watch_that_stands_still_and_a_part_that_returned_turn_health_red() -> None:
    ended: list[str] = []
    still_for_s, metrics, clock = 0.0, OperatorMetrics(), SystemClock()

    def seen_s_ago() -> float:
        at = metrics.registry.get_sample_value("piko_operator_heartbeat_timestamp_seconds")
        assert at is not None
        return clock.now().timestamp() - at

    probes = operator_probes(
        pulse=Pulse(clock=clock),
        watch_still_for_s=lambda: still_for_s,
        ended=lambda: ended,
        unready=list,
        metrics=metrics,
        clock=clock,
    )
    assert await _health(probes) == (200, "ok\n")
    still_for_s = 61.0
    assert await _health(probes) == (503, "the watch has stood still for 61 s\n")
    assert seen_s_ago() >= 61, "the alert looks at the same"
    ended.append("watch")
    assert await _health(probes) == (503, "parts that ended unexpectedly: watch\n")


async def test_an_event_loop_that_was_blocked_for_a_minute_turns_health_red() -> None:
    clock = MovableClock()
    pulse = Pulse(clock=clock)
    probes = operator_probes(
        pulse=pulse,
        watch_still_for_s=lambda: 0.0,
        ended=list,
        unready=list,
        metrics=OperatorMetrics(),
        clock=clock,
    )
    clock.ahead_s = 61.5
    status, said = await _health(probes)
    assert (status, said.startswith("the event loop has been blocked for ")) == (503, True)
    beating = asyncio.create_task(pulse.run())
    await wait_until_async(lambda: pulse.still_for_s < 1, what="a beat")
    assert await _health(probes) == (200, "ok\n")
    beating.cancel()


async def _health(probes: Probes) -> tuple[int, str]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("a probe has no body to read")

    await probes({"type": "http", "method": "GET", "path": "/healthz", "headers": []}, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()


def test_two_signals_of_one_press_are_an_orderly_stop(operator: tuple[ChildProcess, int]) -> None:
    process, _ = operator
    process.signal(signal.SIGSTOP)  # so that both are there when it goes on, and neither comes late
    process.signal(signal.SIGINT)
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)

    assert process.wait() == 0
    assert "operator_stopped" in process.output
