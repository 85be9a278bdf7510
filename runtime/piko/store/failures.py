"""What a failure of the database means, in the words that the parts above know.

A server has hundreds of error codes, and most of them say the same to who only wants to write a row: not
here, not now. The connection broke, the server shuts down, is full, is being failed over, or does not let
this user in: all of that is waited for (`DatabaseUnavailableError` and its kinds). What is left is an error
of this code, or of one row's values, and stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from piko.clock import Clock, SystemClock
from piko.errors import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    DeadlockError,
    PikoError,
    ReadOnlyError,
    RowsLockedError,
    SchemaVersionError,
)

# Unknown column, unknown table.
_SCHEMA = frozenset({1054, 1146})
_DEADLOCK = 1213
_LOCK_WAIT = 1205
# --read-only and --super-read-only, a read-only transaction by default, InnoDB in read-only mode.
_READ_ONLY = frozenset({1290, 1792, 1836})
# Database, user, host, table, column, routine or privilege; an account that is locked, or whose password is
# out of date. A grant that is made puts all of them right.
_RIGHTS = frozenset({1044, 1045, 1130, 1142, 1143, 1227, 1370, 1410, 1698, 1820, 1862, 3118, 4151})
# A row changed since it was read, too many connections, shutdown, gone away, lost, killed, timed out, a disk
# or a table that is full, limits of a user, a cluster's node that is not ready or not primary, a lock table
# that is full, no thread, a binary log that cannot be written.
_AWAY = frozenset(
    {1020, 1021, 1040, 1041, 1047, 1049, 1053, 1077, 1079, 1114, 1129, 1135, 1152, 1158, 1159, 1160, 1161}
    | {1184, 1203, 1206, 1226, 1317, 1598, 1623, 1877, 1927, 1969, 2002, 2003, 2006, 2013, 2055, 3024, 3098}
    | {3100, 3101, 3168, 3572, 3675, 4031}
)

_REMEDIES: tuple[tuple[frozenset[int], str], ...] = (
    (
        _READ_ONLY,
        "where a failover or maintenance is going on there is nothing to do: it is tried again, on new "
        "connections; else make the server writable, or name the one that is in PIKO_MYSQL_DSN",
    ),
    (_RIGHTS, "let this user in, and GRANT it SELECT, INSERT, UPDATE and DELETE on the database"),
    (frozenset({1406}), "a name of this replica is longer than its column: shorten it"),
)
_ANY_REMEDY = "put it right on the server; it is tried again"
_RECENT_S = 2.5


def code_of(error: BaseException | None) -> object:
    """The server's number for `error`; something else where the driver gives none."""
    return error.args[0] if error is not None and error.args else None


def sentence_of(where: str, error: exc.DBAPIError) -> str:
    """What the server said, where, and what to do."""
    code = code_of(error.orig)
    remedy = next((text for codes, text in _REMEDIES if code in codes), _ANY_REMEDY)
    return f"database {where} refused a statement: {error.orig}; {remedy}"


def meaning_of(where: str, error: exc.DBAPIError) -> PikoError | None:
    """The name of `error` for the parts above; None: it stays what it is."""
    code = code_of(error.orig)
    if code in _SCHEMA or str(code).startswith(("no such table", "no such column")):
        return SchemaVersionError(
            f"database {where} is not available: {error.orig}; its tables are missing or older than this "
            "release, run `piko db upgrade`"
        )
    if code in _READ_ONLY:
        return ReadOnlyError(sentence_of(where, error))
    if code in _RIGHTS:
        return DatabaseRefusedError(sentence_of(where, error))
    kind: type[DatabaseUnavailableError] | None = None
    if code == _DEADLOCK:
        kind = DeadlockError
    elif code == _LOCK_WAIT:
        kind = RowsLockedError
    elif error.connection_invalidated or code in _AWAY or _is_no_answer(error.orig):
        kind = DatabaseUnavailableError
    return None if kind is None else kind(f"database {where} is not available: {error.orig}")


def _is_no_answer(error: BaseException | None) -> bool:
    if isinstance(error, OSError | TimeoutError):
        return True
    text = str(error)
    return isinstance(code_of(error), str) and any(
        sign in text for sign in ("database is locked", "unable to open database", "disk I/O error")
    )


@contextmanager
def any_refusal(where: str) -> Iterator[None]:
    """Raise `DatabaseRefusedError` for whatever the server refuses, with its own words.

    For a start: no code of a server may end it.
    """
    try:
        yield
    except exc.DBAPIError as error:
        raise DatabaseRefusedError(sentence_of(where, error)) from error


class ServerHealth:
    """How the server treats this process: what it refuses, and which connections are worth keeping.

    A server that was demoted goes on answering reads, and a pool keeps what connects to it: connections from
    before a refusal to write are not used again, whichever engine has them.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._refused: tuple[str, float, bool] | None = None
        self.generation = 0
        """Grows when what was connected before is not to be used any more."""

    @property
    def refusal(self) -> str | None:
        """What the server refuses at present, in its words; may be asked from any thread."""
        if self._refused is None:
            return None
        sentence, at, until_written = self._refused
        return sentence if until_written or self._clock.monotonic() - at < _RECENT_S else None

    def refused(self, error: PikoError) -> None:
        """`error` is what a statement came to."""
        if isinstance(error, ReadOnlyError):
            self.generation += 1
        if isinstance(error, ReadOnlyError | DatabaseRefusedError):
            # A missing right may be one on another table than the next transaction writes.
            self._refused = (str(error), self._clock.monotonic(), isinstance(error, ReadOnlyError))

    def written(self) -> None:
        """A transaction was committed, or a statement that commits itself."""
        if self._refused is not None and self._refused[2]:
            self._refused = None
