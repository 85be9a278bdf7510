"""Which instances are presumed dead, from their session locks: pure. Instants are monotonic seconds.

Every instance holds a lock on the database server for as long as one session of it lasts, and replaces or
withdraws it in its row as soon as that session breaks. A lock that fell while its row still names it is a
**hint** that the process has ended:

| the lock | before | it is |
|---|---|---|
| is held by the session that its row names | | held |
| is free | held | fallen, from this look on |
| is free | fallen, and its instance has beaten since | fallen, from this look on |
| is free | fallen for less than the grace | fallen |
| is free | fallen for the grace | fallen, and its instance is **presumed dead** |
| is free | never held, as far as this session saw | unproven: it means nothing |

**A lock must have been seen held** on the session that sees it free. That proves that both instances use the
same server, so a replica that reaches another server presumes nobody dead. A replica whose own session broke
has seen nothing.

There is one exception, for the process that is started in place of one that crashed alone: at its **first
look**, a free lock counts as fallen if its row names the same server, and that server has not restarted since
the lock was taken.

**Why an early takeover is as safe as a late one.** A hint gives no right. A replica that acts on it
competes for the same lease: it writes a new epoch to `leader_lease`, in a transaction that locks the row,
and from then on the database refuses every claim, cursor and watermark under an older epoch. A Kubernetes
Lease is taken from its holder by a compare-and-set on its resourceVersion, and the epoch follows in the
database. So a leader that lives after all, because only its network was cut, is deposed as if its lease had
expired: it writes nothing more. The duration of a lease protects a leader that lives from being deposed
needlessly; the data are protected by the fence alone.

Where locks say nothing, because a process is frozen, a machine vanished or the server is another, lease and
heartbeat decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from piko.model.session_locks import Look, SeenLock

_TRIPS = 4
"""Round trips that a living instance may need, besides the grace, to replace its lock over a slow network."""
_UPTIME_ERROR = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fall:
    """A lock that fell: when it was noticed, by the database's clock (`at`) and on the monotonic one."""

    lock_name: str
    heartbeat_at: datetime
    at: datetime
    noticed_at: float
    dead: bool = False


class FailureDetector:
    """Presumes instances dead whose session lock fell and who gave no other sign of life for `grace_s`."""

    def __init__(self, *, instance_id: str, grace_s: float) -> None:
        """`instance_id` is this replica's own, of which it presumes nothing."""
        self._instance_id = instance_id
        self._grace_s = grace_s
        self.held: frozenset[str] = frozenset()
        """Names of the locks of others that were seen held on this session, and are still published."""
        self._falls: dict[str, _Fall] = {}
        self._newcomer = True

    @property
    def presumed_dead(self) -> Mapping[str, datetime]:
        """Instances that are presumed dead, each with when its lock was seen to have fallen.

        The instants are the database's. A lease that was renewed later belongs to a living instance.
        """
        return {instance_id: fall.at for instance_id, fall in self._falls.items() if fall.dead}

    @property
    def suspects(self) -> bool:
        """Whether the grace of some instance is not over yet."""
        return any(not fall.dead for fall in self._falls.values())

    def see(self, look: Look, *, now: float, trip_s: float) -> list[str]:
        """Note a look, which took `trip_s`; returns the instances that are presumed dead from now on."""
        others = [seen for seen in look.locks if seen.instance_id != self._instance_id]
        falls: dict[str, _Fall] = {}
        for seen in others:
            fall = self._fall(seen, look, now)
            if fall is not None:
                falls[seen.instance_id] = fall
        grace_s = self._grace_s + _TRIPS * trip_s
        died = [
            instance_id
            for instance_id, fall in falls.items()
            if not fall.dead and now - fall.noticed_at >= grace_s
        ]
        self._falls = {**falls, **{name: replace(falls[name], dead=True) for name in died}}
        names = {seen.lock.name for seen in others}
        self.held = (self.held & names) | {seen.lock.name for seen in others if seen.held}
        self._newcomer = False
        return died

    def forget(self) -> None:
        """Note that this replica's own session broke: from now on no lock has been seen held."""
        self.held = frozenset()
        self._falls = {}

    def _fall(self, seen: SeenLock, look: Look, now: float) -> _Fall | None:
        """The fall of a lock that is free and was held; None if it is held, or means nothing."""
        if seen.held:
            return None
        before = self._falls.get(seen.instance_id)
        if before is not None and before.lock_name == seen.lock.name:
            if before.heartbeat_at == seen.heartbeat_at:
                return before
        elif not (seen.lock.name in self.held or (self._newcomer and _same_server(seen, look))):
            return None
        return _Fall(lock_name=seen.lock.name, heartbeat_at=seen.heartbeat_at, at=look.at, noticed_at=now)


def _same_server(seen: SeenLock, look: Look) -> bool:
    """Whether the lock was taken on the server that was asked, since that server started."""
    return seen.lock.server == look.server and seen.lock.taken_at > look.server_since + _UPTIME_ERROR
