"""How the MySQL driver is asked for a connection: what a DSN's options become, TLS, and rotation.

A password is changed in two places, the server and the Secret, in either order and up to minutes apart, since
the kubelet takes its time to renew a mounted Secret. So a connection is first tried with the URL that last
worked. If that fails, for any reason, the file that holds the DSN is read again, and a URL that differs is
tried at once. No order of the two changes needs a restart, and sessions that are open stay open.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from piko.dsn import TlsMode, TlsOptions, parse_dsn, tls_options, without_tls_options
from piko.errors import SettingsError
from piko.observability.logs import get_logger

log = get_logger(__name__)

_CONNECT_S = 5
_HANG_UP_S = 1.0


def driver_options(
    url: URL, *, init_command: str, read_timeout_s: float | None, renewed_in: Path | None = None
) -> tuple[URL, dict[str, Any]]:
    """The URL and the `connect_args` with which SQLAlchemy makes an engine for a parsed DSN.

    - `init_command`: the statement that a new session begins with.
    - `read_timeout_s`: how long to wait for an answer; None: without end.
    - `renewed_in`: the file that the DSN is from, which is read again if a connection fails.

    Raises `SettingsError` where certificates cannot be read.
    """
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_S,
        "read_timeout": read_timeout_s,
        "init_command": init_command,
        "async_creator_fn": _Renewed(url, renewed_in) if renewed_in is not None else _creator_of(url),
        **_password(url),
    }
    return without_tls_options(url), arguments


def _password(url: URL) -> dict[str, Any]:
    # The driver takes text for Latin-1, and fails on a letter beyond it.
    return {} if url.password is None else {"password": str(url.password).encode()}


def _creator_of(url: URL) -> Any:
    """What connects as the options of `url` ask. Raises `SettingsError` where certificates cannot be read."""
    tls = tls_options(url)
    if tls.mode is TlsMode.DISABLED:
        return connect
    _require_usable(tls)
    return _Secured(tls)


async def connect(*arguments: Any, **options: Any) -> Any:
    """Connect with the driver, which forgets to close what it has opened when it is cancelled meanwhile."""
    import asyncmy

    async def dial() -> Any:
        return await asyncmy.connect(*arguments, **options)

    dialling = asyncio.create_task(dial())
    try:
        return await asyncio.shield(dialling)
    except asyncio.CancelledError:
        # A task that was cancelled once may be cancelled again, and waits no more then.
        dialling.add_done_callback(_hang_up)
        await asyncio.wait({dialling}, timeout=_HANG_UP_S)
        if not dialling.done():
            dialling.cancel()
            await asyncio.wait({dialling})
        for _ in range(
            2
        ):  # a turn of the loop hangs up, and at the next one the transport lets go of its socket
            await asyncio.sleep(0)
        raise


def _hang_up(dialling: asyncio.Task[Any]) -> None:
    if not dialling.cancelled() and dialling.exception() is None:
        dialling.result().close()


def ended(connection: Any) -> asyncio.Future[None]:
    """Is done when `connection` of the driver has ended, even if nothing is being asked on it.

    The driver notes that, and has no public way to wait for it.
    """
    return connection._proto._closed_waiter  # type: ignore[no-any-return]


class _Renewed:
    """Connects with the URL that last worked, and if that fails with the one that the file holds by now."""

    def __init__(self, url: URL, path: Path) -> None:
        self._path = path
        self._url = url
        self._creator = _creator_of(url)

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        held = self._url
        try:
            return await self._connect(self._creator, held, *arguments, **options)
        except Exception as refusal:
            fresh = self._read_again(held)
            if fresh is None:
                raise
            creator, url = fresh
            try:
                connection = await self._connect(creator, url, *arguments, **options)
            except Exception as second:
                raise second from refusal
        self._url, self._creator = url, creator
        log.info("database_url_renewed", path=str(self._path), url=url.render_as_string(hide_password=True))
        return connection

    async def _connect(self, creator: Any, url: URL, *arguments: Any, **options: Any) -> Any:
        plain = without_tls_options(url)
        _, said = plain.get_dialect()().create_connect_args(plain)
        return await creator(*arguments, **{**options, **said, **_password(url)})

    def _read_again(self, held: URL) -> tuple[Any, URL] | None:
        """How to connect by what the file holds by now; None if that is nothing new, or cannot be used."""
        try:
            url = parse_dsn(f"file:{self._path}")
            return None if url == held else (_creator_of(url), url)
        except SettingsError as error:
            log.error("database_url_not_renewed", path=str(self._path), error=str(error))
            return None


class _Secured:
    """Connects over TLS. Certificates that were renewed on disk hold from the next connection on."""

    def __init__(self, tls: TlsOptions) -> None:
        self._tls = tls
        self._stamps: Mapping[str, int] | None = None
        self._context: ssl.SSLContext | None = None

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        stamps = {str(path): path.stat().st_mtime_ns for _, path in _files(self._tls)}
        if self._context is None or stamps != self._stamps:
            self._context, self._stamps = _load(self._tls), stamps
        return await connect(*arguments, **options, ssl=self._context)


def _require_usable(tls: TlsOptions) -> None:
    """Find out now whether what is named can be used."""
    for option, path in _files(tls):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"setting `mysql_dsn`: option `{option}` = {str(path)!r} cannot be read: {error.strerror}; "
                "name a PEM file that this process may read"
            ) from None
    try:
        _load(tls)
    except ssl.SSLError as error:
        named = ", ".join(f"`{option}` = {str(path)!r}" for option, path in _files(tls))
        raise SettingsError(
            f"setting `mysql_dsn`: {named}: no usable certificates: {error}; expected PEM files, and the key "
            "that belongs to the certificate, without a passphrase"
        ) from None


def _load(tls: TlsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    context.check_hostname = tls.mode is TlsMode.VERIFY_IDENTITY
    context.verify_mode = ssl.CERT_NONE if tls.mode is TlsMode.REQUIRED else ssl.CERT_REQUIRED
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, keyfile=tls.key, password=_no_passphrase)
    return context


def _no_passphrase() -> str:
    raise ssl.SSLError("the key has a passphrase")


def _files(tls: TlsOptions) -> list[tuple[str, Any]]:
    named = [("ssl_ca", tls.ca), ("ssl_cert", tls.certificate), ("ssl_key", tls.key)]
    return [(option, path) for option, path in named if path is not None]
