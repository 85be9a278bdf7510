"""The probes of the operator, and the pulse that shows that its event loop turns."""

from __future__ import annotations

from collections.abc import Callable

from piko.background.periodic import repeat
from piko.clock import Clock
from piko.serving.probes import ProbeResult, Probes
from piko_operator.metrics import OperatorMetrics

_BEAT_S = 1.0
_DEAD_AFTER_S = 60.0


class Pulse:
    """Shows whether the event loop turns; liveness depends on that, on the watch and on ended parts."""

    name = "pulse"

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        await repeat(self._beat, pause_s=_BEAT_S)

    async def _beat(self) -> None:
        self._at = self._clock.monotonic()

    @property
    def still_for_s(self) -> float:
        return self._clock.monotonic() - self._at


def operator_probes(
    *,
    pulse: Pulse,
    watch_still_for_s: Callable[[], float],
    ended: Callable[[], list[str]],
    unready: Callable[[], list[str]],
    metrics: OperatorMetrics,
    clock: Clock,
) -> Probes:
    """`/healthz`, `/readyz` and `/metrics`.

    - `pulse`: shows whether the event loop turns.
    - `watch_still_for_s`: for how long the watch has asked the API server for nothing.
    - `ended`: parts that ended although nobody stopped them.
    - `unready`: why the operator cannot work; it is ready if this is empty.
    - `metrics`: what is scraped, with when the operator was last seen at work.
    """

    def health() -> ProbeResult:
        if parts := ended():
            return ProbeResult(False, (f"parts that ended unexpectedly: {', '.join(parts)}",))
        still_for_s = pulse.still_for_s
        if still_for_s > _DEAD_AFTER_S:
            return ProbeResult(False, (f"the event loop has been blocked for {still_for_s:.0f} s",))
        still_for_s = watch_still_for_s()
        if still_for_s > _DEAD_AFTER_S:
            return ProbeResult(False, (f"the watch has stood still for {still_for_s:.0f} s",))
        return ProbeResult(True, ("ok",))

    def heartbeat() -> float:
        return clock.now().timestamp() - max(pulse.still_for_s, watch_still_for_s())

    def readiness() -> ProbeResult:
        reasons = unready()
        return ProbeResult(not reasons, tuple(reasons) or ("ok",))

    metrics.heartbeat.set_function(heartbeat)
    return Probes(health=health, readiness=readiness, metrics=metrics.registry)
