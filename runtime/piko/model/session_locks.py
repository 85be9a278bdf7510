"""Session locks: what an instance holds on the database server, and what a look at all of them shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLock:
    """A lock that lasts as long as one session of one instance.

    `name` is new for each session, `server` identifies the server on which it is held, and `session_id` is
    the server's number of the session. `taken_at` is the database's time.
    """

    name: str
    server: str
    session_id: int
    taken_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLock:
    """The lock of one instance at one look.

    `held`: whether the session that the instance named holds it, on the server that was asked. `leads`:
    whether the instance holds the lease. `heartbeat_at` is the database's time.
    """

    instance_id: str
    lock: SessionLock
    heartbeat_at: datetime
    held: bool
    leads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The locks of all instances that are heard of, from one statement at the database's time `at`.

    `server_since` is when the server that was asked started, to about a second.
    """

    at: datetime
    server: str
    server_since: datetime
    locks: Sequence[SeenLock]

    def of(self, instance_id: str) -> SeenLock | None:
        """The lock that `instance_id` has published."""
        return next((seen for seen in self.locks if seen.instance_id == instance_id), None)

    @property
    def leader(self) -> SeenLock | None:
        """The lock of the instance that holds the lease."""
        return next((seen for seen in self.locks if seen.leads), None)
