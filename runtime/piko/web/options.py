"""What the application is served with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from piko.config_keys import NO_KEYS, ConfigKeys
from piko.settings import Settings

WebAccess = Literal["read", "token", "header", "kubernetes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the application has to know.

    `dsn` is the database's URL, `config_keys` decrypt the secret parts of configs in it, `timezone` is the
    zone of schedules that name none, `access` who may read and act; the other fields are the settings of that
    name with `web_` in front.
    """

    dsn: SecretStr
    timezone: str
    config_keys: ConfigKeys = NO_KEYS
    access: WebAccess = "read"
    tokens_dir: Path | None = None
    user_header: str = "X-Forwarded-User"
    groups_header: str = "X-Forwarded-Groups"
    operators: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    namespace: str | None = None
    session_key: SecretStr | None = None


def web_settings(settings: Settings) -> WebSettings:
    """What of a program's `settings` concerns the application."""
    return WebSettings(
        dsn=settings.mysql_dsn,
        config_keys=settings.config_keys,
        timezone=settings.timezone,
        access=settings.web_access,
        tokens_dir=settings.web_tokens_dir,
        user_header=settings.web_user_header,
        groups_header=settings.web_groups_header,
        operators=_parts(settings.web_operators),
        trusted_proxies=_parts(settings.web_trusted_proxies),
        namespace=settings.web_namespace,
        session_key=settings.web_session_key,
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
