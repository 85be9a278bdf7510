"""What a route asks for: the database, the clock, the zone of schedules that name none."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, Header, Path, Request
from pydantic import AfterValidator, AwareDatetime

from piko.clock import Clock
from piko.model.digests import Digest
from piko.store.engine import Database
from piko.web.access.roles import Caller
from piko.web.problems import ProblemError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG = re.compile(r'(?:W/)?"([0-9]{1,19})-([0-9a-f]{1,14})"')


def _database(request: Request) -> Database:
    return cast(Database, request.app.state.database)


def _clock(request: Request) -> Clock:
    return cast(Clock, request.app.state.clock)


def _timezone(request: Request) -> str:
    return cast(str, request.app.state.timezone)


def _caller(request: Request) -> Caller:
    return cast(Caller, request.scope["caller"])


def row_tag(version: int, updated_at: datetime) -> str:
    """The entity tag of a row: it differs between any two edits."""
    return f'"{version}-{_microseconds(updated_at):x}"'


def seen_of(if_match: str | None) -> Digest | None:
    """The state of a row that its entity tag names; None: whatever it is. Raises `ProblemError`."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _TAG.fullmatch(if_match.strip())
    if match is None:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, 'header If-Match: expected the ETag of the job, or "*", or no such header'
        )
    return int(match[1]), _EPOCH + timedelta(microseconds=int(match[2], 16))


def _seen(if_match: Annotated[str | None, Header(max_length=100)] = None) -> Digest | None:
    return seen_of(if_match)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _in_utc(moment: datetime) -> datetime:
    try:
        found = moment.astimezone(UTC)
    except OverflowError:
        found = None
    if found is None or found < _EPOCH:
        raise ValueError("expected an instant from 1970 to 9999, in UTC")
    return found


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""An instant that the tables can hold, in UTC."""

ByCaller = Annotated[Caller, Depends(_caller)]
"""Who asks."""

Seen = Annotated[Digest | None, Depends(_seen)]
"""The state of the row that the caller decided on."""

OnDatabase = Annotated[Database, Depends(_database)]
"""The database, over the application's own small pool."""

AtClock = Annotated[Clock, Depends(_clock)]

DefaultZone = Annotated[str, Depends(_timezone)]

JOBS = r"^[A-Za-z0-9_.:-]*$"
IDS = r"^[\x21-\x7e]*$"
"""What the filters of lists may say of jobs, and of other ids: those columns hold no other text."""

JobId = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$", description="The job's id.")]
RunId = Annotated[str, Path(max_length=64, pattern=r"^[\x21-\x7e]+$", description="The run's id.")]
