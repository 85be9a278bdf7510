"""Instants as a person reads them: in the person's zone, and a due time in that of its schedule, too."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def reader_zone() -> tzinfo | None:
    """The zone that `TZ` names; None: that of this machine, as `datetime.astimezone` takes it."""
    return _zone(os.environ.get("TZ", "").removeprefix(":"))


def stamp(moment: datetime, zone: tzinfo | None) -> str:
    """Date and time with the offset, `Z` for UTC; milliseconds only if there is a fraction of a second."""
    local = moment.astimezone(zone)
    text = local.isoformat(sep=" ", timespec="milliseconds" if local.microsecond else "seconds")
    return f"{text.removesuffix('+00:00')}Z" if local.utcoffset() == timedelta(0) else text


def zone_name(zone: tzinfo | None, now: datetime) -> str:
    """What a person calls the zone: `Asia/Shanghai`, or for this machine's own `CST`."""
    return zone.key if isinstance(zone, ZoneInfo) else str(now.astimezone(zone).tzname())


def due_in_own_zone(moment: datetime, own: tzinfo | str | None, zone: tzinfo | None) -> str:
    """The due time `moment` in the zone `own` of its schedule: `09:00:00 Europe/Berlin`, with another date.

    Empty where clocks there show the same as in the reader's `zone`, or where `own` is not known.
    """
    found = _zone(own) if isinstance(own, str) else own
    if found is None:
        return ""
    local, theirs = moment.astimezone(found), moment.astimezone(zone)
    if local.utcoffset() == theirs.utcoffset():
        return ""
    day = "" if local.date() == theirs.date() else f"{local:%Y-%m-%d} "
    return f"{day}{local:%H:%M:%S} {found}"


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):  # such as CET-1CEST, which the C library reads
        return None
