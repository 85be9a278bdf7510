"""A lease as its row says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """A lease as it stands in the database."""

    name: str
    epoch: int
    holder: str | None
    holder_host: str | None
    expires_at: datetime | None

    def may_be_taken(self, now: datetime, *, by: str, patient: bool) -> bool:
        """Whether `by` may have it: its own, one that was given up, or (but for the patient) has expired."""
        if self.holder in (None, by):
            return True
        return not patient and (self.expires_at is None or self.expires_at <= now)
