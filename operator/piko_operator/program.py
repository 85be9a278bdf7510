"""The life cycle of one operator process: start, readiness, stop."""

from __future__ import annotations

import asyncio

from piko.background.closing import ClosingStack
from piko.background.supervisor import Supervisor
from piko.clock import Clock, SystemClock
from piko.observability.logs import get_logger
from piko.serving.listening import listen
from piko.serving.probes import Probes
from piko.serving.server import HttpServer
from piko.signals import StopSignals
from piko.store.engine import open_database
from piko_operator.cluster import Cluster, connect
from piko_operator.composition import OperatorParts, compose
from piko_operator.metrics import OperatorMetrics
from piko_operator.probes import operator_probes
from piko_operator.settings import PREFIX, OperatorSettings

log = get_logger(__name__)


class Operator:
    """One operator process."""

    def __init__(self, *, settings: OperatorSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = SystemClock() if clock is None else clock
        self._metrics = OperatorMetrics()
        self._supervisor = Supervisor(restarts=self._metrics.part_restarts)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; a second signal ends the process at once.

        Raises `SettingsError` for errors that waiting would not resolve.
        """
        closing = ClosingStack()
        with StopSignals(last_words=_cut_short) as signals:
            try:
                parts = await self._composed(closing)
                await self._run_parts(parts, closing, signals)
            finally:
                await closing.close()
        log.info("operator_stopped")

    async def _composed(self, closing: ClosingStack) -> OperatorParts:
        database = open_database(self._settings.mysql_dsn.get_secret_value())
        closing.push("database", database.close)
        client = await connect()
        closing.push("client of the API server", client.close)
        return compose(
            self._settings,
            cluster=Cluster(client=client, clock=self._clock, namespaces=self._settings.namespaces),
            database=database,
            clock=self._clock,
            metrics=self._metrics,
        )

    async def _run_parts(self, parts: OperatorParts, closing: ClosingStack, signals: StopSignals) -> None:
        probes = operator_probes(
            pulse=parts.pulse,
            ended=lambda: self._supervisor.ended,
            unready=lambda: _reasons(parts, self._supervisor),
            metrics=self._metrics,
        )
        address = self._serve(probes, closing)
        log.info("operator_started", cluster=self._settings.cluster, http=address)
        try:
            for part in parts.in_order:
                self._supervisor.start(part)
            await signals.wait()
        finally:
            await self._supervisor.stop_all()

    def _serve(self, probes: Probes, closing: ClosingStack) -> str:
        """Start the HTTP server, which stops when `closing` closes; returns its address."""
        server = HttpServer(probes, clock=self._clock, dropped=self._metrics.http_connections_dropped)
        listening = listen(self._settings.http_host, self._settings.http_port, prefix=PREFIX)
        serving = asyncio.create_task(server.serve(listening), name="http")

        async def end() -> None:
            server.stop()
            try:
                await serving
            finally:
                listening.close()

        closing.push("http", end)
        host, port = listening.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reasons(parts: OperatorParts, supervisor: Supervisor) -> list[str]:
    """Why the operator cannot work now; empty if it can. May be called from any thread."""
    reasons = [f"{name} fails: {error}" for name, error in list(supervisor.failing.items())]
    if parts.sweep.cluster_error is not None:
        reasons.append(parts.sweep.cluster_error)
    elif not parts.sweep.listed.is_set():
        reasons.append("the resources have not been listed yet")
    reasons += [
        trouble
        for trouble in (
            parts.identity.trouble,
            parts.mirror.database_error or parts.status.database_error,
        )
        if trouble is not None
    ]
    return reasons


def _cut_short() -> str:
    return "rows and statuses that were being written; the next start compares all of them"
