"""The record in a Kubernetes Lease, and who may take it: pure.

The rules are those of client-go's leader election, so that Piko's replicas behave like any other controller:

- Clocks of replicas may differ by any amount. The times in a record only show that it has changed; its age is
  measured here, on the monotonic clock, from when the change was first seen.
- A record expires after the duration that it states itself, not by the reader's settings.
- A replica that takes over adds one to `leaseTransitions` and writes `acquireTime`; a renewal leaves both.
- A record without a holder was released, and may be taken at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any

_LONGEST_NAME = 63
_RELEASED_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A Lease as it was read. `version` is its resourceVersion; `duration_s` is None if it states none."""

    version: str
    holder: str | None
    duration_s: float | None
    acquired_at: str | None
    transitions: int
    spec: Mapping[str, Any]


class Observation:
    """The record as this replica last saw it, and since when."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self._seen_at = 0.0

    def see(self, record: LeaseRecord | None, *, at: float) -> None:
        """Note the record (None: there is none) from a request that ended at `at`, monotonic seconds."""
        if self.record is None or record is None or record.spec != self.record.spec:
            self._seen_at = at
        self.record = record

    def may_be_taken(self, *, by: str, at: float | None) -> bool:
        """Whether `by` may become the holder. Without `at`, an expired record may not be taken."""
        record = self.record
        if record is None or not record.holder or record.holder == by or record.duration_s is None:
            return True
        return at is not None and at >= self._seen_at + record.duration_s


def record_of(lease: Mapping[str, Any]) -> LeaseRecord:
    """The record in a Lease object of the API server."""
    spec = lease.get("spec") or {}
    duration = spec.get("leaseDurationSeconds")
    return LeaseRecord(
        version=lease["metadata"]["resourceVersion"],
        holder=spec.get("holderIdentity") or None,
        duration_s=None if duration is None else float(duration),
        acquired_at=spec.get("acquireTime"),
        transitions=int(spec.get("leaseTransitions") or 0),
        spec=spec,
    )


def held_by(holder: str, before: LeaseRecord | None, *, lease_s: float, now: datetime) -> dict[str, Any]:
    """The spec that makes `holder` the holder, or renews its hold."""
    renews = before is not None and before.holder == holder
    transitions = 0 if before is None else before.transitions + (not renews)
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": ceil(lease_s),
        "acquireTime": before.acquired_at if before is not None and renews else _written(now),
        "renewTime": _written(now),
        "leaseTransitions": transitions,
    }


def released(before: LeaseRecord, *, now: datetime) -> dict[str, Any]:
    """The spec without a holder."""
    return {
        "leaseDurationSeconds": _RELEASED_S,
        "acquireTime": _written(now),
        "renewTime": _written(now),
        "leaseTransitions": before.transitions,
    }


def object_name(leader_name: str) -> str:
    """The name of the Lease for a `leader_name`, which may hold characters that object names may not."""
    plain = re.sub(r"[^a-z0-9]+", "-", leader_name.lower()).strip("-")
    name = f"piko-{plain}"
    if plain == leader_name and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(leader_name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9].rstrip('-')}-{digest}"


def _written(moment: datetime) -> str:
    # Always with six digits, because the API server refuses a MicroTime without them.
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
