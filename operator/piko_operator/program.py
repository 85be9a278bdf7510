"""The operator put together: its parts, how they start, fail, and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from piko.clock import Clock, SystemClock
from piko.observability.logs import get_logger
from piko.serving.listening import listen
from piko.serving.probes import Probes
from piko.serving.server import HttpServer
from piko.signals import StopSignals
from piko.store.clusters import Clusters
from piko.store.engine import Database, open_database
from piko.store.managed import ManagedTable, Summaries, managed_configs, managed_schedules
from piko.store.reports.orphans import OrphanStore
from piko_operator.cluster import Cluster, connect
from piko_operator.events import Events
from piko_operator.identity import Identity
from piko_operator.inventory import JOB_CONFIG, SCHEDULE, Inventory
from piko_operator.metrics import OperatorMetrics
from piko_operator.mirror import Mirror
from piko_operator.orphans import OrphanCleaner
from piko_operator.probes import Pulse, operator_probes
from piko_operator.records import SyncRecords
from piko_operator.settings import PREFIX, OperatorSettings
from piko_operator.status import StatusWriter
from piko_operator.sweep import Sweep
from piko_operator.watch import Watch

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

log = get_logger(__name__)


class Operator:
    """One operator process."""

    def __init__(self, *, settings: OperatorSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = SystemClock() if clock is None else clock
        self._metrics = OperatorMetrics()
        self._broken: dict[str, str] = {}

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; a second one ends the process at once.

        Raises `SettingsError` for what waiting would not cure.
        """
        async with AsyncExitStack() as stack:
            signals = stack.enter_context(StopSignals(last_words=_cut_short))
            database = open_database(self._settings.mysql_dsn.get_secret_value())
            stack.push_async_callback(database.close)
            client = await stack.enter_async_context(connect())
            cluster = Cluster(client=client, clock=self._clock, namespaces=self._settings.namespaces)
            await self._run_parts(stack, cluster=cluster, database=database, signals=signals)
        log.info("operator_stopped")

    async def _run_parts(
        self, stack: AsyncExitStack, *, cluster: Cluster, database: Database, signals: StopSignals
    ) -> None:
        settings, news, inventory = self._settings, asyncio.Event(), Inventory()
        tables: dict[str, ManagedTable[Any]] = {
            SCHEDULE: managed_schedules(database),
            JOB_CONFIG: managed_configs(database),
        }
        events = Events(cluster=cluster, clock=self._clock)
        records = SyncRecords(clock=self._clock, inventory=inventory)
        identity = Identity(cluster=cluster, clusters=Clusters(database=database), name=settings.cluster)
        mirror = Mirror(
            cluster=cluster,
            clock=self._clock,
            inventory=inventory,
            metrics=self._metrics,
            tables=tables,
            cluster_name=settings.cluster,
            events=events,
            identity=identity,
            news=news,
            records=records,
        )
        orphans = OrphanCleaner(
            clock=self._clock,
            cluster=cluster,
            inventory=inventory,
            metrics=self._metrics,
            tables=tables,
            store=OrphanStore(database=database),
            cluster_name=settings.cluster,
            namespaces=settings.namespaces,
            limit=settings.orphan_limit,
            grace_s=settings.orphan_grace_s,
        )
        sweep = Sweep(
            cluster=cluster,
            identity=identity,
            inventory=inventory,
            kinds=list(tables),
            orphans=orphans,
            interval_s=settings.sweep_interval_s,
        )
        status = StatusWriter(
            cluster=cluster,
            clock=self._clock,
            events=events,
            inventory=inventory,
            metrics=self._metrics,
            owner=mirror.owner,
            records=records,
            summaries=Summaries(database=database),
            interval_s=settings.status_interval_s,
            news=news,
        )
        watch = Watch(
            clock=self._clock, inventory=inventory, metrics=self._metrics, namespaces=settings.namespaces
        )

        async def watch_when_listed() -> None:
            # kopf serves only the definitions that exist when it starts; a listing proves that they do.
            await sweep.listed.wait()
            await watch.run()

        def unready() -> list[str]:
            reasons = [f"{part}: {why}" for part, why in self._broken.items()]
            if sweep.cluster_error is not None:
                reasons.append(sweep.cluster_error)
            elif not sweep.listed.is_set():
                reasons.append("the resources have not been listed yet")
            if identity.trouble is not None:
                reasons.append(identity.trouble)
            if status.database_error is not None:
                reasons.append(status.database_error)
            return reasons

        pulse = Pulse(clock=self._clock)
        address = await self._serve(
            stack, operator_probes(pulse=pulse, unready=unready, metrics=self._metrics)
        )
        log.info("operator_started", cluster=settings.cluster, http=address)
        parts = {
            "events": events.run,
            "mirror": mirror.run,
            "status": status.run,
            "sweep": sweep.run,
            "watch": watch_when_listed,
        }
        tasks = [asyncio.create_task(self._keep(name, run), name=name) for name, run in parts.items()]
        tasks.append(asyncio.create_task(pulse.run(), name="pulse"))
        try:
            await signals.wait()
        finally:
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, stack: AsyncExitStack, probes: Probes) -> str:
        """Answer until `stack` unwinds; where."""
        server = HttpServer(probes, clock=self._clock, dropped=self._metrics.http_connections_dropped)
        listening = stack.enter_context(
            listen(self._settings.http_host, self._settings.http_port, prefix=PREFIX)
        )
        serving = asyncio.create_task(server.serve(listening), name="http")

        async def end() -> None:
            server.stop()
            await serving

        stack.push_async_callback(end)
        host, port = listening.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a part for good: one that fails is started again after a pause, and readiness says so."""
        pause = _FIRST_PAUSE_S
        while True:
            started = self._clock.monotonic()
            try:
                await run()
            except Exception as error:
                log.exception("part_failed", part=name)
                self._broken[name] = f"{type(error).__name__}: {error}"
            self._metrics.part_restarts.labels(part=name).inc()
            if self._clock.monotonic() - started > _LONGEST_PAUSE_S:
                pause = _FIRST_PAUSE_S
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, pause * 2)
            self._broken.pop(name, None)


def _cut_short() -> str:
    return "rows and statuses that were being written; the next start compares all of them"
