"""What a route asks for: the database, the clock, the zone of schedules that name none."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Path, Request

from piko.clock import Clock
from piko.store.engine import Database


def _database(request: Request) -> Database:
    return cast(Database, request.app.state.database)


def _clock(request: Request) -> Clock:
    return cast(Clock, request.app.state.clock)


def _timezone(request: Request) -> str:
    return cast(str, request.app.state.timezone)


OnDatabase = Annotated[Database, Depends(_database)]
"""The database, over the application's own small pool."""

AtClock = Annotated[Clock, Depends(_clock)]

DefaultZone = Annotated[str, Depends(_timezone)]

JobId = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$", description="The job's id.")]
RunId = Annotated[str, Path(max_length=64, pattern=r"^[\x21-\x7e]+$", description="The run's id.")]
