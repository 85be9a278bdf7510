"""Instants as a person reads them off a clock on the wall."""

from __future__ import annotations

from datetime import datetime, tzinfo

from piko.clock import Clock

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


class WallClock:
    """Tells instants in `zone`."""

    def __init__(self, *, clock: Clock, zone: tzinfo) -> None:
        self._clock = clock
        self._zone = zone

    def now(self) -> datetime:
        return self._clock.now().astimezone(self._zone)

    def at(self, moment: datetime) -> str:
        """The time of day; the day too where it is not today, a fraction of a second where there is one."""
        local = moment.astimezone(self._zone)
        day = "" if local.date() == self.now().date() else f"{local:%Y-%m-%d} "
        fraction = f".{local.microsecond:06d}".rstrip("0") if local.microsecond else ""
        return f"{day}{local:%H:%M:%S}{fraction}"

    def ago(self, moment: datetime) -> str:
        return f"{_span((self.now() - moment).total_seconds())} ago"

    def ahead(self, moment: datetime) -> str:
        seconds = (moment - self.now()).total_seconds()
        return f"in {_span(seconds)}" if seconds > 0 else "due"


def _span(seconds: float) -> str:
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
