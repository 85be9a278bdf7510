"""The database URL: what a valid one looks like, and which options it may have.

The options are few and each is checked here, at the start: the driver takes a dozen more, silently ignores
some and fails on others only when it connects. What a session needs (time zone, timeouts) Piko sets itself.

`file:/path` in place of a URL names a file that holds it, such as one that a Secret mounts, so that a changed
password needs no restart: see `piko.store.driver`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from piko.errors import SettingsError, did_you_mean

SUPPORTED_DRIVERS = ("mysql+asyncmy", "sqlite+aiosqlite")
DSN_EXAMPLE = "mysql+asyncmy://user:password@127.0.0.1:3306/piko?charset=utf8mb4"

_IN_FILE = "file:"
_MOST_BYTES = 65_536

_SECRET_NAMES = ("key", "pass", "secret", "token")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class TlsMode(StrEnum):
    """How much of the server's identity is proven before anything is said to it."""

    DISABLED = "disabled"
    REQUIRED = "required"
    VERIFY_CA = "verify_ca"
    VERIFY_IDENTITY = "verify_identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """What the `ssl_…` options of a DSN ask for."""

    mode: TlsMode
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def parse_dsn(dsn: str, *, source: str = "mysql_dsn") -> URL:
    """The DSN as a URL, without white space around it; `file:/path` is read.

    Raises `SettingsError` when it is malformed, names a driver or an option that Piko does not support, or
    names a file that cannot be read; the message never holds the password.
    """
    path = dsn_file(dsn)
    if path is not None:
        dsn, source = _text_of(path, source), f"{source} in {path}"
    url = _url(dsn.strip(), source)
    shown = f"setting `{source}` = {_shown(url)}"
    if url.drivername not in SUPPORTED_DRIVERS:
        raise SettingsError(
            f"{shown}: driver {url.drivername!r} is not supported; "
            f"expected one of {', '.join(SUPPORTED_DRIVERS)}, for example {DSN_EXAMPLE}"
        )
    if url.drivername.startswith("sqlite"):
        _check_sqlite(url, shown)
    else:
        _check_options(url, shown)
        _check_mysql(url, shown)
    return url


def dsn_file(dsn: str) -> Path | None:
    """The file that holds the URL, where `dsn` is `file:/path`; else None."""
    text = dsn.strip()
    return Path(text.removeprefix(_IN_FILE)) if text.startswith(_IN_FILE) else None


def masked_dsn(dsn: str) -> str:
    """The DSN for people to read: without its password."""
    return parse_dsn(dsn).render_as_string(hide_password=True)


def tls_options(url: URL) -> TlsOptions:
    """What a parsed DSN asks for. Any of the other `ssl_…` options alone means `verify_identity`."""
    files = {name: Path(str(url.query[name])) for name in _TLS_FILES if name in url.query}
    usual = TlsMode.VERIFY_IDENTITY if files else TlsMode.DISABLED
    return TlsOptions(
        mode=TlsMode(str(url.query.get("ssl_mode", usual)).lower()),
        ca=files.get("ssl_ca"),
        certificate=files.get("ssl_cert"),
        key=files.get("ssl_key"),
    )


def without_tls_options(url: URL) -> URL:
    """The URL for a driver that is given its TLS context in another way."""
    return url.difference_update_query([*_TLS_FILES, "ssl_mode"])


def _text_of(path: Path, source: str) -> str:
    """What the file at `path` holds."""
    wrong = f"setting `{source}` = {_IN_FILE}{path}"
    if not path.is_absolute():
        raise SettingsError(
            f"{wrong}: expected a path from the root, for example file:/etc/piko/database/dsn"
        )
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise SettingsError(
            f"{wrong} cannot be read: {error.strerror}; name a file that this process may read, and that "
            f"holds a database URL, {DSN_EXAMPLE}"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{wrong}: not text in UTF-8; expected a database URL, {DSN_EXAMPLE}") from None
    if len(content) > _MOST_BYTES:
        raise SettingsError(f"{wrong}: longer than 64 KiB; expected a database URL, {DSN_EXAMPLE}")
    return text


def _url(dsn: str, source: str) -> URL:
    try:
        if _CONTROL.search(dsn):
            raise ArgumentError
        url = make_url(dsn).update_query_pairs(_blank_options(dsn), append=True)
        if _holds_a_stray_password(url, dsn) or _CONTROL.search(url.username or ""):
            raise ArgumentError
    except (ArgumentError, ValueError):  # a port that is no number
        raise SettingsError(
            f"setting `{source}` is not a database URL (its text is not shown, it may hold a password); "
            f"expected the form {DSN_EXAMPLE}, with @ : / in the password percent-encoded"
        ) from None
    return url


def _blank_options(dsn: str) -> list[tuple[str, str]]:
    """Options without a value, which `make_url` drops."""
    behind_password = dsn.partition("@")[2] or dsn
    pairs = parse_qsl(behind_password.partition("?")[2], keep_blank_values=True)
    return [(name, value) for name, value in pairs if not value]


def _holds_a_stray_password(url: URL, dsn: str) -> bool:
    """Whether a password that is not percent-encoded has run into what would be shown."""
    if url.drivername.startswith("sqlite"):
        return url.username is not None  # a path may hold any letter, and a file has no user
    return dsn.count("@") != int(url.username is not None)


def _shown(url: URL) -> str:
    """Without the password, and without options: each of those is shown where it is the trouble."""
    return url.set(query={}).render_as_string(hide_password=True)


# ---- SQLite -----------------------------------------------------------------------------------------


def _check_sqlite(url: URL, shown: str) -> None:
    if url.host or url.port is not None:
        raise SettingsError(
            f"{shown}: a file has no host; expected three slashes before a path from the working "
            "directory, or four before one from the root: sqlite+aiosqlite:////var/lib/piko/piko.db"
        )
    if url.database in (None, "", ":memory:"):
        raise SettingsError(
            f"{shown}: a database in memory is lost with its connection; "
            "expected a file, for example sqlite+aiosqlite:////var/lib/piko/piko.db"
        )
    if url.query:
        name = min(url.query)
        raise SettingsError(
            f"{shown}: unknown option {_option(url, name)}; a SQLite URL has no options, remove it"
        )


# ---- MySQL and MariaDB ------------------------------------------------------------------------------


def _check_mysql(url: URL, shown: str) -> None:
    if not (url.database and (url.host or "unix_socket" in url.query)):
        raise SettingsError(
            f"{shown}: host or database name is missing; expected the form {DSN_EXAMPLE}, or a socket "
            "instead of the host: mysql+asyncmy://user:password@/piko?unix_socket=/run/mysqld/mysqld.sock"
        )
    if not url.username:
        raise SettingsError(f"{shown}: the user is missing; expected the form {DSN_EXAMPLE}")
    if url.host and not _is_host(url.host):
        raise SettingsError(
            f"{shown}: {url.host!r} cannot be the name of a host; expected a name such as db.example.com, "
            "an address such as 10.0.0.7, or one in brackets such as [fd00::7]"
        )
    if url.port is not None and not 1 <= url.port <= 65535:
        raise SettingsError(f"{shown}: port {url.port} does not exist; expected 1 to 65535")


def _is_host(host: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return re.search(r"[\s\[\]/?#%]", host) is None or ":" in host


def _check_options(url: URL, shown: str) -> None:
    for name, value in sorted(url.query.items()):
        if name not in _OPTIONS:
            raise SettingsError(
                f"{shown}: unknown option {_option(url, name)}{_meant(name)}; there is {', '.join(_OPTIONS)}"
            )
        if not isinstance(value, str):
            raise SettingsError(f"{shown}: option {_option(url, name)} is given more than once; keep one")
        if (expected := _OPTIONS[name](value)) is not None:
            raise SettingsError(f"{shown}: option {_option(url, name)}: expected {expected}")
    if (trouble := _contradiction(url)) is not None:
        raise SettingsError(f"{shown}: {trouble}")


def _contradiction(url: URL) -> str | None:
    tls = tls_options(url)
    if tls.mode is not TlsMode.DISABLED and "unix_socket" in url.query:
        return "TLS over a socket of this machine; remove the `ssl_…` options, or `unix_socket`"
    if tls.ca and tls.mode in (TlsMode.DISABLED, TlsMode.REQUIRED):
        return (
            f"option `ssl_ca` is not looked at with `ssl_mode` = {tls.mode.value!r}; "
            "expected verify_ca or verify_identity"
        )
    if tls.mode is TlsMode.DISABLED and (tls.certificate or tls.key):
        return "a client certificate needs TLS; remove `ssl_mode` = 'disabled'"
    if tls.key and not tls.certificate:
        return "option `ssl_key` needs `ssl_cert`, the certificate that it belongs to"
    return None


def _charset(value: str) -> str | None:
    return None if value == "utf8mb4" else "utf8mb4, the one character set that holds every character"


def _mode(value: str) -> str | None:
    meanings = "disabled, required (encrypted, server not checked), verify_ca or verify_identity"
    return None if value.lower() in set(TlsMode) else meanings


def _file(value: str) -> str | None:
    return None if value.startswith("/") else "the path of a file, from the root"


_TLS_FILES = ("ssl_ca", "ssl_cert", "ssl_key")
_OPTIONS: Mapping[str, Callable[[str], str | None]] = {
    "charset": _charset,
    "ssl_ca": _file,
    "ssl_cert": _file,
    "ssl_key": _file,
    "ssl_mode": _mode,
    "unix_socket": _file,
}
"""What is expected of a value, or None where it will do."""

_FOREIGN_MODE = re.compile(r"(use|require)?_?(ssl|tls)(_?mode|_verify\w*)?")


def _meant(name: str) -> str:
    """What an option of other drivers is called here; TLS is `ssl`, `sslmode`, `useSSL` there."""
    word = name.lower().replace("-", "_")
    if _FOREIGN_MODE.fullmatch(word):
        return "; did you mean `ssl_mode`?"
    return did_you_mean(word, _OPTIONS)


def _option(url: URL, name: str) -> str:
    secret = any(word in name.lower() for word in _SECRET_NAMES) and name not in _OPTIONS
    value = url.query[name]
    text = value if isinstance(value, str) else ", ".join(value)
    return f"`{name}` = {'(not shown)' if secret else repr(text[:200])}"
