"""What the application is served with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

WebAccess = Literal["read", "token", "header", "kubernetes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the application has to know.

    `dsn` is the database's URL, `timezone` the zone of schedules that name none, `access` who may read
    and act; the other fields are the settings of that name with `web_` in front.
    """

    dsn: SecretStr
    timezone: str
    access: WebAccess = "read"
    tokens_dir: Path | None = None
    user_header: str = "X-Forwarded-User"
    groups_header: str = "X-Forwarded-Groups"
    operators: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    namespace: str | None = None
