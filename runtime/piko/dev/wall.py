"""Instants as local time of day."""

from __future__ import annotations

from datetime import datetime, tzinfo

from piko.clock import Clock
from piko.reader_zone import due_in_own_zone, zone_name


class WallClock:
    """Formats instants in `zone`; None: that of this machine."""

    def __init__(self, *, clock: Clock, zone: tzinfo | None) -> None:
        self._clock = clock
        self._zone = zone

    @property
    def zone_name(self) -> str:
        return zone_name(self._zone, self._clock.now())

    def now(self) -> datetime:
        return self._clock.now().astimezone(self._zone)

    def at(self, moment: datetime) -> str:
        """The time of day, with the date if it is not today, and with a fraction of a second if any."""
        local = moment.astimezone(self._zone)
        day = "" if local.date() == self.now().date() else f"{local:%Y-%m-%d} "
        fraction = f".{local.microsecond:06d}".rstrip("0") if local.microsecond else ""
        return f"{day}{local:%H:%M:%S}{fraction}"

    def due(self, moment: datetime, own: tzinfo | None) -> str:
        """As `at`, with the time in the zone `own` of the schedule where clocks there show another one."""
        theirs = due_in_own_zone(moment, own, self._zone)
        return f"{self.at(moment)} ({theirs})" if theirs else self.at(moment)
