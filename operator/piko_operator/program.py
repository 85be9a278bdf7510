"""The life cycle of one operator process: start, readiness, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from piko.background.closing import ClosingStack
from piko.background.garbage import collecting_seldom
from piko.background.supervisor import Part, Supervisor
from piko.clock import Clock, SystemClock
from piko.errors import LeaseUnavailableError
from piko.leadership.api_access import own_namespace
from piko.leadership.elector import Elector
from piko.observability.logs import get_logger
from piko.serving.listening import listen
from piko.serving.probes import Probes
from piko.serving.server import HttpServer
from piko.signals import StopSignals
from piko.store.engine import Database, open_database
from piko.store.reports.overview import Overview
from piko_operator.admission.server import AdmissionServer
from piko_operator.admission.trust import Trust
from piko_operator.api_session import ApiSession, connect
from piko_operator.cluster import Cluster
from piko_operator.composition import compose
from piko_operator.duty import Duty
from piko_operator.election import elector_of
from piko_operator.metadata import MetadataFeed
from piko_operator.metrics import OperatorMetrics
from piko_operator.probes import Pulse, operator_probes
from piko_operator.settings import PREFIX, OperatorSettings

_RELEASE_S = 5.0

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
                with collecting_seldom():
                    await self._run(closing, signals)
            finally:
                await closing.close()
        log.info("operator_stopped")

    async def _run(self, closing: ClosingStack, signals: StopSignals) -> None:
        database = open_database(
            self._settings.mysql_dsn.get_secret_value(),
            awaits_tables=True,
            config_keys=self._settings.config_keys,
        )
        closing.push("database", database.close)
        session = await connect()
        closing.push("connections to the API server", session.close)
        elector = elector_of(
            clock=self._clock,
            metrics=self._metrics,
            name=self._settings.lease_name,
            namespace=self._settings.lease_namespace,
        )
        closing.push("lease", elector.close)
        cluster = Cluster(
            session=session,
            clock=self._clock,
            namespaces=self._settings.namespaces,
            class_name=self._settings.class_name,
            may_write=lambda: elector.acting is not None,
        )
        build = partial(
            compose,
            self._settings,
            cluster=cluster,
            feed=MetadataFeed(session=session),
            database=database,
            clock=self._clock,
            metrics=self._metrics,
        )
        duty, pulse = (
            Duty(elector=elector, compose=build, metrics=self._metrics),
            Pulse(clock=self._clock),
        )
        probes = operator_probes(
            pulse=pulse,
            watch_still_for_s=lambda: duty.watch_still_for_s,
            ended=lambda: self._supervisor.ended + duty.ended,
            unready=lambda: _failing(self._supervisor) + duty.reasons,
            metrics=self._metrics,
            clock=self._clock,
        )
        address = self._serve(probes, closing)
        trust = await self._open_admission(session, database, closing)
        log.info("operator_started", cluster=self._settings.cluster, http=address)
        try:
            parts: Sequence[Part] = (elector, duty, pulse, *trust)
            for part in parts:
                self._supervisor.start(part)
            await signals.wait()
        finally:
            await self._hand_over(elector, duty)

    async def _hand_over(self, elector: Elector, duty: Duty) -> None:
        """Stop writing, let another replica act, and then end the rest."""
        await self._supervisor.stop(duty.name)
        await self._supervisor.stop(elector.name)
        try:
            async with asyncio.timeout(_RELEASE_S):
                await elector.release()
        except (LeaseUnavailableError, TimeoutError) as error:
            log.warning("lease_not_released", error=str(error) or "no answer in time")
        await duty.stop_watching()
        await self._supervisor.stop_all()

    async def _open_admission(
        self, session: ApiSession, database: Database, closing: ClosingStack
    ) -> Sequence[Trust]:
        """Answer the API server if a port is set; returns what looks after the certificate."""
        settings = self._settings
        if settings.admission_port is None:
            return ()
        trust = Trust(
            cluster=Cluster(
                session=session, clock=self._clock
            ),  # every replica answers, also one that does not act
            clock=self._clock,
            namespace=settings.lease_namespace or own_namespace(),
            service=settings.admission_service,
            configuration=settings.admission_configuration,
        )
        server = AdmissionServer(
            clock=self._clock,
            metrics=self._metrics,
            overview=Overview(database=database),
            trust=trust,
            class_name=settings.class_name,
            tenants=settings.tenants,
            zone=settings.timezone,
        )
        listening = listen(settings.http_host, settings.admission_port, prefix=PREFIX, setting="admission")
        await server.start(listening)
        closing.push("admission", server.close)
        log.info("admission_started", port=listening.getsockname()[1])
        return (trust,)

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


def _failing(supervisor: Supervisor) -> list[str]:
    return [f"{name} fails: {error}" for name, error in list(supervisor.failing.items())]


def _cut_short() -> str:
    return "rows and statuses that were being written; the next start compares all of them"
