"""What a replica says of itself over HTTP: probes and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry

from piko.runtime import Readiness
from piko.serving.probes import Probes, Verdict


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


def _health(running: Replica | None) -> Verdict:
    """Liveness: every part is kept, and the jobs' event loop turns. The database may be away."""
    if running is not None and (dead := running.dead_parts):
        return Verdict(False, (f"parts that ended for good: {', '.join(dead)}",))
    if running is not None and (hung_for_s := running.hung_for_s):
        return Verdict(False, (f"the event loop of the jobs has been blocked for {hung_for_s:.0f} s",))
    return Verdict(True, ("ok",))


def _readiness(running: Replica | None) -> Verdict:
    """`leader` or `standby`; 503 with one reason per line."""
    if running is None:
        return Verdict(False, ("not started",))
    readiness = running.readiness
    return Verdict(readiness.ready, (readiness.role,) if readiness.ready else readiness.reasons)
