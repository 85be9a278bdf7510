"""A server with few places: who gets one, who loses it, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.registry import Collector

from piko.clock import SystemClock
from piko.errors import SettingsError
from piko.serving.door import most_connections
from piko.serving.listening import listen
from piko.serving.probes import ProbeResult, Probes
from piko.serving.server import HttpServer
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.serving.sockets import ask, connect, is_closed

MOST = 8
HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    port: int
    registry: CollectorRegistry

    def dropped(self, why: str) -> float:
        name = "piko_http_connections_dropped_total"
        return self.registry.get_sample_value(name, {"why": why}) or 0.0

    async def ask(self, path: str = "/healthz", *, method: str = "GET", host: str = "127.0.0.1") -> Any:
        return await asyncio.to_thread(ask, self.port, path, method=method, host=host)


async def serve(host: str = "127.0.0.1") -> AsyncIterator[Served]:
    registry = CollectorRegistry()
    dropped = Counter("piko_http_connections_dropped", "Dropped.", ["why"], registry=registry)
    probes = Probes(
        health=lambda: ProbeResult(True, ("ok",)),
        readiness=lambda: ProbeResult(False, ("the database is away", "the rows are old")),
        metrics=registry,
    )
    server = HttpServer(probes, clock=SystemClock(), dropped=dropped, most=MOST)
    with listen(host, 0) as open_socket:
        serving = asyncio.create_task(server.serve(open_socket))
        yield Served(port=open_socket.getsockname()[1], registry=registry)
        server.stop()
        await serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async for each in serve():
        yield each


@pytest.mark.usefixtures("slow")
async def test_a_probe_comes_through_while_others_occupy_every_place(served: Served) -> None:
    with ExitStack() as stack:
        occupied = [stack.enter_context(connect(served.port, HEAD)) for _ in range(5 * MOST)]
        for _ in range(3):
            assert await served.ask() == (200, "ok\n")
        assert served.dropped("full") >= 1

        def left() -> int:
            return sum(not is_closed(each) for each in occupied)

        await wait_until_async(lambda: left() <= MOST, what="most of them to be shown out")
        await wait_until_async(lambda: left() == 0, what="the head's time to be over")
        assert served.dropped("slow") >= 1


SLOW = {
    "nothing": b"",
    "half a head": HEAD,
    "half a body": b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx",
    "an answer, then nothing": HEAD + b"\r\n",
    "an answer, then half a head": HEAD + b"\r\n" + HEAD,
}


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("sends", SLOW.values(), ids=SLOW)
async def test_a_connection_that_stands_still_is_closed(sends: bytes, served: Served) -> None:
    with connect(served.port, sends) as slow:
        await wait_until_async(lambda: is_closed(slow), what="it to be closed")
    assert await served.ask() == (200, "ok\n")


@pytest.mark.usefixtures("slow")
async def test_a_head_that_comes_by_drops_has_no_more_time(served: Served) -> None:
    with connect(served.port) as slow:

        def sends_a_byte() -> bool:
            try:
                slow.setblocking(True)
                slow.send(b"G")
            except OSError:
                return True
            return is_closed(slow)

        await wait_until_async(sends_a_byte, what="it to be closed", interval=0.3)


@pytest.mark.usefixtures("slow")
async def test_who_makes_nonsense_of_http_gets_a_bounded_number_of_log_lines(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    began = time.monotonic()
    for sends in (b"nonsense\r\n\r\n", HEAD + b"X: " + b"x" * 100_000):
        for _ in range(30):
            with connect(served.port) as client:
                try:
                    client.sendall(sends)
                except OSError:
                    continue  # it was closed before it had sent everything
                await wait_until_async(lambda: is_closed(client), what="a refusal")
    assert await served.ask() == (200, "ok\n")
    reported = [record for record in caplog.records if "Invalid HTTP" in record.getMessage()]
    minutes = 1 + (time.monotonic() - began) // 60
    assert 1 <= len(reported) <= minutes, "one a minute"


async def test_probes_answer_head_as_get_without_a_body_and_refuse_the_rest(served: Served) -> None:
    assert await served.ask(method="HEAD") == (200, "")
    assert await served.ask("/metrics", method="HEAD") == (200, "")
    assert (await served.ask("/metrics"))[0] == 200
    assert await served.ask("/readyz") == (503, "the database is away\nthe rows are old\n")
    assert await served.ask("/readyz", method="HEAD") == (503, "")
    assert await served.ask(method="POST") == (405, "expected GET or HEAD\n")
    assert (await served.ask("/elsewhere"))[0] == 404


async def test_a_stop_does_not_wait_for_a_connection_that_stands_still() -> None:
    async for served in serve():
        slow = [connect(served.port, sends) for sends in SLOW.values()]
        assert await served.ask() == (200, "ok\n")
    for each in slow:
        each.close()


# ---- where it listens -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_an_answer_of_two_packets_does_not_wait_for_an_acknowledgement(host: str) -> None:
    with listen(host, 0) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_everywhere_is_both_families() -> None:
    async for served in serve("::"):
        assert await served.ask(host="127.0.0.1") == (200, "ok\n")
        assert await served.ask(host="[::1]") == (200, "ok\n")


async def test_everywhere_is_ipv4_where_the_host_has_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    async for served in serve("::"):
        assert await served.ask() == (200, "ok\n")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0"])
async def test_names_and_addresses_are_taken(host: str) -> None:
    async for served in serve(host):
        assert await served.ask() == (200, "ok\n")


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "x" * 64, "a\x00b", "999.1.1.1", "1.2.3.4", "a b", ""]
)
def test_an_address_that_cannot_be_had_is_named(host: str) -> None:
    with pytest.raises(SettingsError, match=r"`http_host` = .*cannot listen there: .*set OURS_HTTP_HOST"):
        listen(host, 0, prefix="OURS_")


def test_connections_leave_most_descriptors_to_the_jobs() -> None:
    assert 8 <= most_connections() <= 100


async def test_a_probe_is_answered_while_metrics_are_encoded(served: Served) -> None:
    class Large(Collector):
        """Metrics that take until `encoded` is set."""

        def describe(self) -> Iterable[Metric]:
            return []

        def collect(self) -> Iterable[Metric]:
            began.set()
            assert encoded.wait(PATIENCE_S)
            return []

    began, encoded = threading.Event(), threading.Event()
    served.registry.register(Large())
    scrape = asyncio.create_task(served.ask("/metrics"))
    try:
        assert await asyncio.to_thread(began.wait, PATIENCE_S)
        assert (await served.ask("/healthz"))[0] == 200
        assert not scrape.done()
    finally:
        encoded.set()
    assert (await scrape)[0] == 200
