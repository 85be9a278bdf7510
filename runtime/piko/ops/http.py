"""What a replica says of itself over HTTP: probes and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry

from piko.replica.replica import Readiness
from piko.serving.probes import ProbeResult, Probes


class Replica(Protocol):
    """What is told of a replica."""

    @property
    def readiness(self) -> Readiness: ...

    @property
    def dead_parts(self) -> list[str]: ...

    @property
    def hung_for_s(self) -> float: ...


def replica_probes(*, replica: Callable[[], Replica | None], metrics: CollectorRegistry) -> Probes:
    """The probes of the replica that `replica()` returns; None: not started."""
    return Probes(health=lambda: _health(replica()), readiness=lambda: _readiness(replica()), metrics=metrics)


def _health(running: Replica | None) -> ProbeResult:
    """Liveness: every part is kept, and the jobs' event loop turns. The database may be away."""
    if running is not None and (dead := running.dead_parts):
        return ProbeResult(False, (f"parts that ended although nothing stopped them: {', '.join(dead)}",))
    if running is not None and (hung_for_s := running.hung_for_s):
        return ProbeResult(False, (f"the event loop of the jobs has been blocked for {hung_for_s:.0f} s",))
    return ProbeResult(True, ("ok",))


def _readiness(running: Replica | None) -> ProbeResult:
    """`leader` or `standby`; 503 with one reason per line."""
    if running is None:
        return ProbeResult(False, ("not started",))
    readiness = running.readiness
    return ProbeResult(readiness.ready, (readiness.role,) if readiness.ready else readiness.reasons)
