"""What all commands share: common options, database access, and the forms of output."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from piko.cli.invocation import as_called
from piko.errors import RefusedError
from piko.tables import Row, table_lines
from piko.text import instant_text, span

if TYPE_CHECKING:
    from piko.model.changes import Actor
    from piko.settings import Settings
    from piko.store.engine import Database

T = TypeVar("T")

_AGE_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_JOB_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_AGE_PART = re.compile(r"([0-9]{1,9}(?:[.][0-9]{1,9})?)([smhdw])")


class Output(StrEnum):
    """Output formats: for a person, for a person with every column, for programs."""

    TEXT = "text"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_document(self) -> bool:
        """Whether it is for programs: one document with everything."""
        return self in (Output.JSON, Output.YAML)


Dsn = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Database URL. Default: the setting `mysql_dsn` (PIKO_MYSQL_DSN), "
        "which keeps the password out of process lists.",
        show_default=False,
    ),
]
Form = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]
Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]

Reason = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Why; kept in change_log.", show_default=False)
]

Files = Annotated[
    list[Path],
    typer.Option(
        "--file", "-f", metavar="PATH", help="A file, a folder, or - for standard input; may be repeated."
    ),
]
Zone = Annotated[
    str | None,
    typer.Option(metavar="ZONE", help="Zone of schedules that name none. Default: PIKO_TIMEZONE, then UTC."),
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Check it, and change nothing.")]


def offline_zone(given: str | None) -> str:
    """The zone of schedules that name none, where no database is asked."""
    return given or os.environ.get("PIKO_TIMEZONE") or "UTC"


def settings_in_force(given: str | None) -> Settings:
    """The settings, with the DSN that was given or that of `piko dev` here. Raises `SettingsError`."""
    from piko.dev.place import database_above
    from piko.dsn import parse_dsn
    from piko.settings import load_settings

    if given is None:
        local = database_above(Path.cwd())
        return load_settings(defaults={} if local is None else {"mysql_dsn": local.dsn})
    parse_dsn(given, source="--dsn")
    return load_settings(mysql_dsn=given)


def dsn_in_force(given: str | None) -> str:
    """The DSN to use: the setting, or else the database of `piko dev` here. Raises `SettingsError`."""
    from piko.dsn import parse_dsn

    if given is None:
        return settings_in_force(given).mysql_dsn.get_secret_value()
    parse_dsn(given, source="--dsn")
    return given


def zone_in_force(given: str | None) -> str:
    """The time zone of schedules that name none, from the settings. Raises `SettingsError`."""
    from piko.settings import load_settings

    return load_settings(mysql_dsn=dsn_in_force(given)).timezone


def with_database(given: str | None, work: Callable[[Database], Awaitable[T]]) -> T:
    """The result of `work` on an open database. Raises `SettingsError` and `DatabaseUnavailableError`."""
    from piko.store.engine import open_database

    async def main() -> T:
        dsn = settings.mysql_dsn.get_secret_value()
        database = open_database(dsn, pool_size=2, config_keys=settings.config_keys)
        try:
            return await work(database)
        finally:
            await database.close()

    settings = settings_in_force(given)
    return asyncio.run(main())


def show_document(value: object, output: Output) -> None:
    """Print `value` as JSON or YAML: instants in UTC, dataclasses as objects."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain)
    if output is Output.YAML:
        import yaml

        text = yaml.safe_dump(json.loads(text), allow_unicode=True, sort_keys=False).rstrip("\n")
    typer.echo(text)


def say(text: str) -> None:
    """Print `text`, with the commands in it as the person would type them."""
    typer.echo(as_called(text))


def show_table(
    columns: Sequence[str], rows: Iterable[Row], *, otherwise: str, shorten: Sequence[str] = ()
) -> None:
    """Print a table, or `otherwise` if it has no rows. Texts in the columns `shorten` may be cut."""
    table = [replace(row, notes=[as_called(note) for note in row.notes]) for row in rows]
    if not table:
        typer.echo(otherwise)
        return
    for line in table_lines(columns, table, shorten=shorten, width=_width()):
        typer.echo(line)


def _width() -> int | None:
    """The width of the terminal, or `COLUMNS` if that is set; None if the output is no terminal."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def stamp(moment: datetime | None, *, own: str | None = None) -> str:
    """An instant for people, in their zone with its offset; `own`: the zone of the schedule it is due by."""
    from piko import reader_zone

    if moment is None:
        return ""
    zone = reader_zone.reader_zone()
    text, due = reader_zone.stamp(moment, zone), reader_zone.due_in_own_zone(moment, own, zone)
    return f"{text} ({due})" if due else text


def instant(text: str, *, option: str, zone: str = "UTC") -> datetime:
    """An aware datetime from what a person wrote. Raises `RefusedError`."""
    from zoneinfo import ZoneInfo

    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise RefusedError(
            f"{option} = {text!r}: expected an instant such as 2026-01-08, 2026-01-08T10:00 or "
            "2026-01-08T10:00:00+08:00; without an offset it is read in the schedule's zone"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def instant_or_age(text: str, *, option: str, now: datetime) -> datetime:
    """An instant, or how long ago it was: `2h`, `30m`, `1d`. Raises `RefusedError`."""
    seconds = _length(text)
    if seconds is not None:
        try:
            return now - timedelta(seconds=seconds)
        except OverflowError:
            raise RefusedError(
                f"{option} = {text!r}: is before the year 1; expected an age such as 2h, 30m or 7d"
            ) from None
    try:
        return instant(text, option=option)
    except RefusedError:
        raise RefusedError(
            f"{option} = {text!r}: expected how long ago, such as 30m, 2h or 7d, or an instant such as "
            "2026-01-08 or 2026-01-08T10:00:00+08:00; without an offset it is UTC"
        ) from None


def instant_or_length(text: str, *, option: str, now: datetime) -> datetime:
    """An instant, or how long from `now` it is: `2h`, `30m`, `1d`. Raises `RefusedError`."""
    seconds = _length(text)
    if seconds is None:
        return instant(text, option=option)
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        raise RefusedError(f"{option} = {text!r}: is after the year 9999") from None


def _length(text: str) -> float | None:
    """The seconds that `30m`, `2h` or `1d 6h` are; None: it is no length."""
    compact = text.replace(" ", "")
    parts = _AGE_PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        return None
    return sum(float(number) * _AGE_SECONDS[unit] for number, unit in parts)


def is_job_id(text: str) -> bool:
    """Whether a job may be called so."""
    return _JOB_ID.fullmatch(text) is not None


async def unknown_job(database: Database, job_id: str) -> RefusedError:
    """The error for an unknown job, with the job that was probably meant."""
    from piko.store.reports import overview

    return await overview.unknown_job(database, job_id)


def author() -> str:
    """The user who runs the command."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a random user id in a pod has no name
        return "unknown"


def person(reason: str | None = None) -> Actor:
    """The user who runs the command, as `change_log` names them."""
    import os

    from piko.model.changes import Actor
    from piko.model.traceparents import traceparent_of

    traceparent = traceparent_of(os.environ.get("TRACEPARENT"))
    return Actor(who=author(), via="cli", reason=reason, traceparent=traceparent)


def duration(seconds: float | None) -> str | None:
    """How long something took: `340ms`, `12.3s`, `5m`; None if it is not known."""
    if seconds is None:
        return None
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s" if seconds < 60 else span(seconds)


def first_line(text: str | None, *, length: int = 80) -> str:
    """The first line of a message, shortened to `length` characters."""
    line = (text or "").strip().partition("\n")[0]
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _plain(value: Any) -> object:
    if isinstance(value, datetime):
        return instant_text(value)
    return asdict(value)
