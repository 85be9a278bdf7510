"""Instants as local time of day."""

from __future__ import annotations

from datetime import datetime, tzinfo

from piko.clock import Clock


class WallClock:
    """Formats instants in `zone`."""

    def __init__(self, *, clock: Clock, zone: tzinfo) -> None:
        self._clock = clock
        self._zone = zone

    def now(self) -> datetime:
        return self._clock.now().astimezone(self._zone)

    def at(self, moment: datetime) -> str:
        """The time of day, with the date if it is not today, and with a fraction of a second if any."""
        local = moment.astimezone(self._zone)
        day = "" if local.date() == self.now().date() else f"{local:%Y-%m-%d} "
        fraction = f".{local.microsecond:06d}".rstrip("0") if local.microsecond else ""
        return f"{day}{local:%H:%M:%S}{fraction}"
