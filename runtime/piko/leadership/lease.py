"""The interface of a lease for the elector, independent of where the lease is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from piko.model.fences import Fence
from piko.model.leases import NOBODY


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

    async def acquire(
        self, *, force: bool, patient: bool = False, dead: Mapping[str, datetime] = NOBODY
    ) -> int | None:
        """Acquire the lease if it is free; returns the new epoch, or None.

        - `force`: in any case.
        - `patient`: a released lease is acquired and an expired one is not.
        - `dead`: instances that are presumed dead, see `FailureDetector`: the lease of one of them is
          acquired before it expires, unless it was renewed after the given instant of the database.
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
