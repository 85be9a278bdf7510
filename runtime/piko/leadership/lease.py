"""What an elector asks of a lease, whatever keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from piko.model.fences import Fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The times of a lease, in seconds.

    A leader acts for `valid_s` from before its last renewal was asked for; another takes over later than
    that. Leaders renew every `renew_every_s`, followers look every `look_every_s`.
    """

    valid_s: float
    renew_every_s: float
    look_every_s: float


class Lease(Protocol):
    """A lease that replicas compete for. The epoch of leadership is the database's, whatever keeps the lease.

    Each call raises `DatabaseUnavailableError` or `LeaseUnavailableError` where it could not find out.
    """

    @property
    def terms(self) -> Terms: ...

    async def acquire(self, *, force: bool, patient: bool = False) -> int | None:
        """Take the lease if it is free, or by `force` in any case; the new epoch, or None.

        The `patient` acquire one that was given up, and none that has expired.
        """
        ...

    async def renew(self, fence: Fence) -> bool:
        """Prolong the lease under `fence`; False when another has it."""
        ...

    async def release(self) -> None:
        """Give the lease up, if it is ours, so that another replica need not wait for it to expire."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
