"""Probes of the operator, which a thread of their own answers, and the pulse that tells that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from piko.clock import Clock
from piko.serving.probes import ProbeResult, Probes
from piko_operator.metrics import OperatorMetrics

_BEAT_S = 1.0
_DEAD_AFTER_S = 60.0


class Pulse:
    """Whether the event loop turns: only that ends an operator which stands still."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()

    async def run(self) -> None:
        while True:
            self._at = self._clock.monotonic()
            await asyncio.sleep(_BEAT_S)

    @property
    def still_for_s(self) -> float:
        return self._clock.monotonic() - self._at


def operator_probes(*, pulse: Pulse, unready: Callable[[], list[str]], metrics: OperatorMetrics) -> Probes:
    """`/healthz`, `/readyz`, `/metrics`; ready when `unready()` has no reasons."""

    def health() -> ProbeResult:
        still_for_s = pulse.still_for_s
        if still_for_s > _DEAD_AFTER_S:
            return ProbeResult(False, (f"the event loop has been blocked for {still_for_s:.0f} s",))
        return ProbeResult(True, ("ok",))

    def readiness() -> ProbeResult:
        reasons = unready()
        return ProbeResult(not reasons, tuple(reasons) or ("ok",))

    return Probes(health=health, readiness=readiness, metrics=metrics.registry)
