"""The part of a program's settings that the API and the page are served with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from piko.settings.runtime import Settings

WebAccess = Literal["read", "token", "header", "kubernetes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the application has to know.

    `dsn` is the database's URL, `timezone` the zone of schedules that name none, `access` who may read
    and who may act.
    """

    dsn: SecretStr
    timezone: str
    access: WebAccess = "read"


def web_settings(settings: Settings) -> WebSettings:
    """What the application takes of `settings`."""
    return WebSettings(dsn=settings.mysql_dsn, timezone=settings.timezone, access=settings.web_access)
