"""Resource files as the command line reads them: offline, by the operator's own rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from piko.errors import ManifestError

if TYPE_CHECKING:
    from piko.schedule import Schedule
    from piko_operator.resources import Manifest, PikoSchedule


def read_text(file: Path) -> str:
    """The text of `file`; `-` is standard input. Raises `ManifestError`."""
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{file}: cannot be read: {error}") from None


def read_manifests(file: Path) -> list[Manifest]:
    """The resources of `file`. Raises `ManifestError`."""
    from piko_operator.manifests import load_manifests

    return load_manifests(read_text(file), str(file))


def schedule_of(resource: PikoSchedule, zone: str) -> Schedule:
    """The schedule that `resource` says; `zone` where it names none. Raises `ScheduleError`."""
    from piko.schedule import parse_schedule
    from piko_operator.mapping import schedule_row

    row = schedule_row(resource, owner=None)
    return parse_schedule(
        job_id=row.job_id,
        schedule_type=row.schedule_type,
        schedule_expr=row.schedule_expr,
        timezone=row.timezone or zone,
        start_at=row.start_at,
        end_at=row.end_at,
    )
