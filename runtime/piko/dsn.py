"""The database URL: what a valid one looks like."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from piko.errors import SettingsError

SUPPORTED_DRIVERS = ("mysql+asyncmy", "sqlite+aiosqlite")
DSN_EXAMPLE = "mysql+asyncmy://user:password@127.0.0.1:3306/piko?charset=utf8mb4"

_SECRET_OPTIONS = ("key", "pass", "secret", "token")


def parse_dsn(dsn: str, *, source: str = "mysql_dsn") -> URL:
    """The DSN as a URL.

    Raises `SettingsError` when it is malformed or names a driver Piko does not support; the message
    never holds the password.
    """
    try:
        url = make_url(dsn)
        if "@" in (url.host or ""):  # the end of a password that is not percent-encoded
            raise ArgumentError
    except (ArgumentError, ValueError):  # a port that is no number
        raise SettingsError(
            f"setting `{source}` is not a database URL (its text is not shown, it may hold a password); "
            f"expected the form {DSN_EXAMPLE}, with @ : / in the password percent-encoded"
        ) from None
    shown = url.render_as_string(hide_password=True)
    if url.drivername not in SUPPORTED_DRIVERS:
        raise SettingsError(
            f"setting `{source}` = {shown}: driver {url.drivername!r} is not supported; "
            f"expected one of {', '.join(SUPPORTED_DRIVERS)}, for example {DSN_EXAMPLE}"
        )
    if url.drivername.startswith("mysql") and not (url.host and url.database):
        raise SettingsError(
            f"setting `{source}` = {shown}: host or database name is missing; expected the form {DSN_EXAMPLE}"
        )
    if url.port is not None and not 1 <= url.port <= 65535:
        raise SettingsError(
            f"setting `{source}` = {shown}: port {url.port} does not exist; expected 1 to 65535"
        )
    if url.drivername.startswith("sqlite") and url.database in (None, "", ":memory:"):
        raise SettingsError(
            f"setting `{source}` = {shown}: a database in memory is gone with its connection; "
            "expected a file, for example sqlite+aiosqlite:////var/lib/piko/piko.db"
        )
    return url


def masked_dsn(dsn: str) -> str:
    """The DSN for people to read: without its password, nor what an option may hold in secret."""
    url = parse_dsn(dsn)
    secret = {name for name in url.query if any(word in name.lower() for word in _SECRET_OPTIONS)}
    masked = url.update_query_dict(dict.fromkeys(secret, "***"))
    return masked.render_as_string(hide_password=True).replace("%2A%2A%2A", "***")
