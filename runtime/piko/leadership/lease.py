"""The interface of a lease for the elector, independent of where the lease is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from piko.model.fences import Fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The times of a lease, in seconds.

    A leader acts for `valid_s` from before its last renewal was requested; another takes over only after
    that. Leaders renew every `renew_every_s`, and followers look every `look_every_s`.
    """

    valid_s: float
    renew_every_s: float
    look_every_s: float


class Lease(Protocol):
    """A lease that replicas compete for. The epoch is always created by the database.

    Each call raises `DatabaseUnavailableError` or `LeaseUnavailableError` if it got no answer.
    """

    @property
    def terms(self) -> Terms: ...

    async def acquire(self, *, force: bool, patient: bool = False) -> int | None:
        """Acquire the lease if it is free, or with `force` in any case; returns the new epoch, or None.

        With `patient`, a released lease is acquired and an expired one is not.
        """
        ...

    async def renew(self, fence: Fence) -> bool:
        """Prolong the lease under `fence`; False if another replica holds it."""
        ...

    async def release(self) -> None:
        """Release the lease if this replica holds it, so that another need not wait for it to expire."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
