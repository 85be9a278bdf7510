"""The lease of the leader, as its row in `leader_lease` says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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

    def may_be_taken(self, now: datetime, *, by: str, patient: bool) -> bool:
        """Whether the instance `by` may hold the lease from `now` on.

        It may if the lease is its own or was released, or if it has expired; a `patient` candidate leaves an
        expired lease to its holder.
        """
        if self.holder in (None, by):
            return True
        return not patient and (self.expires_at is None or self.expires_at <= now)
