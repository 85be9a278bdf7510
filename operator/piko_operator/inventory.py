"""The resources as they were last seen, by the watch or by a listing.

The watch is only a hint. A listing replaces what is known, except for what the watch has shown since the
listing began, so a deletion that the watch missed is noticed by the next listing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from piko_operator.resources import FINALIZER

SCHEDULE = "PikoSchedule"
JOB_CONFIG = "PikoJobConfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One resource as the API server showed it."""

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    finalizers: tuple[str, ...]
    body: Mapping[str, Any] = field(repr=False)
    order: int = 0

    @property
    def spec(self) -> Mapping[str, Any]:
        spec = self.body.get("spec")
        return spec if isinstance(spec, Mapping) else {}

    @property
    def status(self) -> Mapping[str, Any]:
        status = self.body.get("status")
        return status if isinstance(status, Mapping) else {}

    @property
    def job_id(self) -> str:
        return str(self.spec.get("jobId", ""))

    @property
    def is_held(self) -> bool:
        """Whether Piko's finalizer keeps the object until its row is released."""
        return FINALIZER in self.finalizers


def seen_from(body: Mapping[str, Any], *, kind: str) -> Seen:
    metadata = body["metadata"]
    return Seen(
        kind=kind,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers", ())),
        body=body,
    )


class Inventory:
    """The existing resources, and which of them have to be reconciled. For use on one event loop."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._dirty: set[str] = set()
        self._order = 0
        self.marked = asyncio.Event()
        """Set when a resource has to be reconciled."""
        self._listed: set[str] = set()
        self._names: Counter[tuple[str, str, str]] = Counter()
        self._vacated: dict[tuple[str, str], str] = {}

    @property
    def is_complete(self) -> bool:
        """Whether both kinds have been listed at least once."""
        return self._listed >= {SCHEDULE, JOB_CONFIG}

    @property
    def order(self) -> int:
        """A counter of observations; read it before a listing."""
        return self._order

    def __contains__(self, uid: str) -> bool:
        return uid in self._seen

    def has(self, kind: str, *, namespace: str, name: str) -> bool:
        """Whether a resource of that name exists, with any uid."""
        return (kind, namespace, name) in self._names

    def heirs(self, kind: str, job_id: str) -> list[Seen]:
        """The resources that declare the job and are not being deleted."""
        return [seen for seen in self.all(kind) if seen.job_id == job_id and not seen.deleting]

    def vacate(self, kind: str, job_id: str, owner: str) -> None:
        """Note that the owner of the job's row was deleted, so that another resource may take the row."""
        self._vacated[kind, job_id] = owner
        self.mark(*(seen.uid for seen in self.heirs(kind, job_id)))

    def vacated(self, kind: str, job_id: str) -> str | None:
        """The deleted owner of the job's row, if there is one."""
        owner = self._vacated.get((kind, job_id))
        if owner is not None:
            _, namespace, name, *_ = owner.split("/")
            if self.has(kind, namespace=namespace, name=name):
                del self._vacated[kind, job_id]
                return None
        return owner

    def all(self, kind: str) -> list[Seen]:
        return [seen for seen in self._seen.values() if seen.kind == kind]

    def get(self, uid: str) -> Seen | None:
        return self._seen.get(uid)

    def observe(self, seen: Seen) -> None:
        """Note a resource that the watch or a write has shown."""
        known = self._seen.get(seen.uid)
        if known is not None and _is_older(seen, known):
            return
        self._order += 1
        if known is None:
            self._names[_name(seen)] += 1
        self._seen[seen.uid] = replace(seen, order=self._order)
        if (
            known is None
            or known.generation != seen.generation
            or known.deleting != seen.deleting
            or known.is_held != seen.is_held
        ):
            self.mark(seen.uid)

    def forget(self, uid: str) -> None:
        """Remove a deleted object, and mark others that declare its job."""
        deleted = self._seen.pop(uid, None)
        if deleted is not None:
            self._order += 1
            self._names -= Counter([_name(deleted)])
            self.mark(*(seen.uid for seen in self.all(deleted.kind) if seen.job_id == deleted.job_id))

    def listed(self, kind: str, found: Iterable[Seen], *, since: int) -> None:
        """Apply a complete listing of `kind` that began when `order` was `since`, and mark all of it."""
        present = {seen.uid: seen for seen in found}
        for seen in present.values():
            known = self._seen.get(seen.uid)
            if known is None or known.order <= since:
                self.observe(seen)
        for known in self.all(kind):
            if known.uid not in present and known.order <= since:
                self.forget(known.uid)
        self._listed.add(kind)
        self.mark(*present)

    def mark(self, *uids: str) -> None:
        """Mark resources to be reconciled."""
        self._dirty.update(uids)
        if self._dirty:
            self.marked.set()

    def take_marked(self) -> list[Seen]:
        """The marked resources; they are no longer marked afterwards."""
        uids, self._dirty = self._dirty, set()
        return [self._seen[uid] for uid in uids if uid in self._seen]


def _name(seen: Seen) -> tuple[str, str, str]:
    return seen.kind, seen.namespace, seen.name


def _is_older(seen: Seen, known: Seen) -> bool:
    # Resource versions compare as numbers by contract since Kubernetes 1.35, and did in fact before.
    if seen.resource_version.isdigit() and known.resource_version.isdigit():
        return int(seen.resource_version) < int(known.resource_version)
    return False
