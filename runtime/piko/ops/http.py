"""What a replica says of itself over HTTP: probes and metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from piko.replica.running import RunningReplica
from piko.serving.probes import ProbeResult, Probes


def replica_probes(*, replica: Callable[[], RunningReplica | None], metrics: CollectorRegistry) -> Probes:
    """The probes of the replica that `replica()` returns; None: not started."""
    return Probes(health=lambda: _health(replica()), readiness=lambda: _readiness(replica()), metrics=metrics)


def _health(running: RunningReplica | None) -> ProbeResult:
    """Liveness: every part is kept, and the jobs' event loop turns. The database may be away."""
    if running is not None and (reasons := running.liveness):
        return ProbeResult(False, reasons)
    return ProbeResult(True, ("ok",))


def _readiness(running: RunningReplica | None) -> ProbeResult:
    """`leader` or `standby`; 503 with one reason per line."""
    if running is None:
        return ProbeResult(False, ("not started",))
    readiness = running.readiness
    return ProbeResult(readiness.ready, (readiness.role,) if readiness.ready else readiness.reasons)
