"""Instants as a person reads them off a clock on the wall."""

from __future__ import annotations

from datetime import datetime, tzinfo

from piko.clock import Clock


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
