"""The lease of the leader, as its row in `leader_lease` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

NOBODY: Mapping[str, datetime] = MappingProxyType({})
"""No instance is presumed dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """Who leads under `name`: `holder` is an instance, None once it was released.

    The database's clock counts.
    """

    name: str
    epoch: int
    holder: str | None
    holder_host: str | None
    expires_at: datetime | None
    renewed_at: datetime | None = None

    def may_be_taken(self, now: datetime, *, by: str, patient: bool, dead: Mapping[str, datetime]) -> bool:
        """Whether the instance `by` may hold the lease from `now` on.

        It may if the lease is its own or was released, if its holder is presumed `dead`, or if it has
        expired; a `patient` candidate leaves an expired lease to its holder.
        """
        if self.holder in (None, by) or self.is_left_by(dead):
            return True
        return not patient and (self.expires_at is None or self.expires_at <= now)

    def is_left_by(self, dead: Mapping[str, datetime]) -> bool:
        """Whether the holder is one of `dead`, and has not renewed the lease after the instant there."""
        since = None if self.holder is None else dead.get(self.holder)
        return since is not None and (self.renewed_at is None or self.renewed_at <= since)
