"""The resources as they were last seen, by the watch or by a listing.

The watch is only a hint. A listing replaces what is known, except for what the watch has shown since the
listing began, so a deletion that the watch missed is noticed by the next listing.

Every question is answered by an index, because ten thousand resources may be deleted one after another: none
of these methods looks at all resources, except for a listing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from sys import intern
from typing import Any

from piko_operator.annotations import PAUSED, RECONCILE_AT, pause_in
from piko_operator.conditions import true_conditions
from piko_operator.packing import pack, unpack
from piko_operator.resources import FINALIZER
from piko_operator.trigger_annotation import TRIGGER, shown

SCHEDULE = "PikoSchedule"
JOB_CONFIG = "PikoJobConfig"
BACKFILL = "PikoBackfill"
PLURALS = {SCHEDULE: "pikoschedules", JOB_CONFIG: "pikojobconfigs", BACKFILL: "pikobackfills"}
_MIRRORED = (SCHEDULE, JOB_CONFIG)
_HELD = (FINALIZER,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One resource as the API server showed it.

    `deleted` is True once the API server has deleted it without Piko's finalizer. `manager` is the program
    that wrote its spec last, by `managedFields`; `trigger` is the value of the annotation that runs its job,
    and `trigger_manager` the program that wrote it; `paused` is why the annotation pauses its job, with
    `paused_manager`, and `reconcile_at` the value that asks for it to be compared. The last two are bounded.
    `class_name` is the class that it asks for; None: none. `true_conditions` are those of its status.
    `names_sources` is whether its row holds content of Secrets or ConfigMaps.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    finalizers: tuple[str, ...]
    created_at: str
    job_id: str
    class_name: object
    names_sources: bool
    true_conditions: frozenset[str]
    packed_spec: bytes = field(repr=False)
    packed_status: bytes = field(repr=False)
    order: int = 0
    deleted: bool = False
    manager: str | None = None
    trigger: str | None = None
    trigger_manager: str | None = None
    paused: str | None = None
    paused_manager: str | None = None
    reconcile_at: str | None = None

    @property
    def spec(self) -> Mapping[str, Any]:
        """Its spec, read from the packed one each time."""
        return unpack(self.packed_spec)

    @property
    def status(self) -> Mapping[str, Any]:
        """Its status, read from the packed one each time."""
        return unpack(self.packed_status)

    @property
    def is_held(self) -> bool:
        """Whether Piko's finalizer keeps the object until its row is released."""
        return FINALIZER in self.finalizers


def seen_from(body: Mapping[str, Any], *, kind: str) -> Seen:
    """`body` as the operator keeps it: without the rest of its metadata, which is often the larger part."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    paused, reconcile_at = pause_in(annotations), annotations.get(RECONCILE_AT)
    spec, status = _object(body.get("spec")), _object(body.get("status"))
    finalizers = tuple(metadata.get("finalizers", ()))
    return Seen(
        kind=intern(kind),
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        deleting="deletionTimestamp" in metadata,
        finalizers=_HELD if finalizers == _HELD else finalizers,
        created_at=str(metadata.get("creationTimestamp", "")),
        job_id=str(spec.get("jobId", "")),
        class_name=spec.get("className"),
        names_sources=bool(spec.get("configFrom")),
        true_conditions=true_conditions(status),
        packed_spec=pack(spec),
        packed_status=pack(status),
        manager=_manager(metadata, "f:spec"),
        trigger=annotations.get(TRIGGER),
        trigger_manager=_annotator(metadata, annotations, TRIGGER),
        paused=None if paused is None or kind == JOB_CONFIG else shown(paused),
        paused_manager=_annotator(metadata, annotations, PAUSED),
        reconcile_at=None if reconcile_at is None else shown(reconcile_at),
    )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _annotator(metadata: Mapping[str, Any], annotations: Mapping[str, str], name: str) -> str | None:
    """The program that wrote an annotation last; None also if there is none of that name."""
    return _manager(metadata, "f:metadata", "f:annotations", f"f:{name}") if name in annotations else None


def _manager(metadata: Mapping[str, Any], *path: str) -> str | None:
    """The program that wrote the field at `path` last."""
    entries = [item for item in metadata.get("managedFields", ()) if _has(item.get("fieldsV1", {}), path)]
    by_time = sorted(entries, key=lambda item: str(item.get("time", "")))  # of one second, the last listed
    name = by_time[-1].get("manager") if by_time else None
    return intern(name) if isinstance(name, str) else None


def _has(fields: Any, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(fields, Mapping) or name not in fields:
            return False
        fields = fields[name]
    return True


class Inventory:
    """The existing resources, and which of them have to be reconciled. For use on one event loop."""

    def __init__(self, *, kinds: Sequence[str] = _MIRRORED) -> None:
        self._kinds = tuple(kinds)
        self._seen: dict[str, Seen] = {}
        self._order = 0
        self._listed: set[str] = set()
        self._names: Counter[tuple[str, str, str]] = Counter()
        self._by_kind: dict[str, dict[str, None]] = {}
        self._by_job: dict[tuple[str, str], tuple[str, ...]] = {}
        self._vacated: dict[tuple[str, str], str] = {}
        self._changed: dict[str, None] = {}
        self._compared: dict[str, None] = {}
        self._touched: dict[str, None] = {}
        self._asking: dict[str, None] = {}
        self.marked = asyncio.Event()
        """Set when a resource has to be reconciled."""
        self.asked = asyncio.Event()
        """Set when a resource may ask for a run of its job."""

    @property
    def is_complete(self) -> bool:
        """Whether every kind has been listed at least once."""
        return self._listed.issuperset(self._kinds)

    @property
    def order(self) -> int:
        """A counter of observations; read it before a listing."""
        return self._order

    def __contains__(self, uid: str) -> bool:
        return uid in self._seen

    def has(self, kind: str, *, namespace: str, name: str) -> bool:
        """Whether a resource of that name exists, with any uid."""
        return (kind, namespace, name) in self._names

    def is_declared_by_another(self, seen: Seen) -> bool:
        """Whether a resource of another kind in another namespace declares the same job."""
        others = (
            item for kind in self._kinds if kind != seen.kind for item in self.of_job(kind, seen.job_id)
        )
        return any(item.namespace != seen.namespace for item in others)

    def heirs(self, kind: str, job_id: str) -> list[Seen]:
        """The resources that declare the job and are not being deleted."""
        return [seen for seen in self.of_job(kind, job_id) if not seen.deleting]

    def of_job(self, kind: str, job_id: str) -> list[Seen]:
        """The resources that declare the job."""
        return [self._seen[uid] for uid in self._by_job.get((kind, job_id), ())]

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
        return [self._seen[uid] for uid in self._by_kind.get(kind, ())]

    def get(self, uid: str) -> Seen | None:
        return self._seen.get(uid)

    def at_version(self, uid: str, version: str) -> Seen | None:
        """The resource if it is known in that version, so that nothing of it is news."""
        known = self._seen.get(uid)
        return known if known is not None and version and known.resource_version == version else None

    def observe(self, seen: Seen) -> None:
        """Note a resource that the watch or a write has shown."""
        known = self._seen.get(seen.uid)
        if known is not None and (known is seen or _is_older(seen, known) or known.deleted):
            return
        self._order += 1
        if known is None or known.job_id != seen.job_id:
            self._index(seen, known)
        shared = {} if known is None else _shared(seen, known)
        self._seen[seen.uid] = replace(seen, order=self._order, **shared)
        if known is None or known.packed_status != seen.packed_status:
            self._touched[seen.uid] = None
        if (
            known is None
            or known.generation != seen.generation
            or known.deleting != seen.deleting
            or (known.is_held and not seen.is_held)
            or known.paused != seen.paused
            or known.reconcile_at != seen.reconcile_at
        ):
            self.mark(seen.uid)
        if known is not None and known.trigger != seen.trigger:
            self.ask(seen.uid)

    def deleted(self, uid: str) -> None:
        """Note that the watch has shown the end of an object.

        An object that ends without Piko's finalizer was deleted before that could be set. Its row, if it was
        written already, still has to be released, so such an object is kept until the mirror forgets it.
        """
        known = self._seen.get(uid)
        if known is None or known.is_held:
            self.forget(uid)
            return
        self._order += 1
        self._free(known)
        self._seen[uid] = replace(known, deleting=True, deleted=True, order=self._order)
        self.mark(uid)

    def forget(self, uid: str) -> None:
        """Remove a deleted object, and mark others that declare its job."""
        known = self._seen.pop(uid, None)
        if known is None:
            return
        self._order += 1
        self._touched[uid] = None
        if not known.deleted:
            self._free(known)
        self._by_kind[known.kind].pop(uid, None)
        self._unindex_job(known)

    def listed(
        self, kind: str, found: Iterable[Seen], *, since: int, except_in: Collection[str] = ()
    ) -> None:
        """Apply a listing of `kind` that began when `order` was `since`, of all namespaces but some.

        The first listing of a kind marks all of it; a later one marks only what differs. What is known of the
        namespaces `except_in` stays, because nothing is known of them now.
        """
        present = {seen.uid: seen for seen in found}
        for seen in present.values():
            known = self._seen.get(seen.uid)
            if known is None or known.order <= since:
                self.observe(seen)
        for known in self.all(kind):
            is_missing = known.uid not in present and known.namespace not in except_in
            if is_missing and known.order <= since and not known.deleted:
                self.forget(known.uid)
        if kind not in self._listed:
            self.compare(*present)
        self._listed.add(kind)

    def mark(self, *uids: str) -> None:
        """Mark resources that have changed, or whose row has: they are reconciled next."""
        self._changed |= dict.fromkeys(uids)
        if self._changed:
            self.marked.set()

    def compare(self, *uids: str) -> None:
        """Mark resources that are only compared again: they wait for those that have changed."""
        self._compared |= dict.fromkeys(uids)
        if self._compared:
            self.marked.set()

    def take_marked(self, most: int) -> list[Seen]:
        """At most `most` marked resources, which are no longer marked afterwards.

        Those that have changed come first, in the order in which they were marked.
        """
        taken: dict[str, None] = {}
        for queue in (self._changed, self._compared):
            while queue and len(taken) < most:
                uid = next(iter(queue))
                del queue[uid]
                taken[uid] = None
        if self._changed or self._compared:
            self.marked.set()
        return [self._seen[uid] for uid in taken if uid in self._seen]

    def waiting(self) -> list[Seen]:
        """The marked resources, which remain marked."""
        return [self._seen[uid] for uid in {**self._changed, **self._compared} if uid in self._seen]

    def take_touched(self) -> list[str]:
        """The uids whose status has changed, or which were deleted, since the last call."""
        touched, self._touched = self._touched, {}
        return list(touched)

    def ask(self, *uids: str) -> None:
        """Note resources that may ask for a run of their job, by an annotation."""
        self._asking |= dict.fromkeys(uids)
        if self._asking:
            self.asked.set()

    def asking(self, most: int) -> list[str]:
        """At most `most` uids of those, in the order in which they asked."""
        return list(islice(self._asking, most))

    def asked_no_more(self, uid: str) -> None:
        """Note that what a resource asks for is being looked at."""
        self._asking.pop(uid, None)
        if self._asking:
            self.asked.set()

    def _index(self, seen: Seen, known: Seen | None) -> None:
        if known is None:
            self._names[_name(seen)] += 1
            self._by_kind.setdefault(seen.kind, {})[seen.uid] = None
        else:
            self._unindex_job(known)
        self._by_job[seen.kind, seen.job_id] = (*self._by_job.get((seen.kind, seen.job_id), ()), seen.uid)

    def _free(self, seen: Seen) -> None:
        """Note that one resource less has the name. (`Counter` would look at all names to subtract one.)"""
        name = _name(seen)
        self._names[name] -= 1
        if self._names[name] <= 0:
            del self._names[name]

    def _unindex_job(self, seen: Seen) -> None:
        left = tuple(uid for uid in self._by_job[seen.kind, seen.job_id] if uid != seen.uid)
        if left:
            self._by_job[seen.kind, seen.job_id] = left
        else:
            del self._by_job[seen.kind, seen.job_id]
        # Those of the job's other kind may have waited for this one as well.
        self.mark(*(item.uid for kind in self._kinds for item in self.of_job(kind, seen.job_id)))


def _name(seen: Seen) -> tuple[str, str, str]:
    return seen.kind, seen.namespace, seen.name


def _shared(seen: Seen, known: Seen) -> dict[str, Any]:
    """The texts of `known` that `seen` has as well: keys of indexes, which need not be held twice."""
    job_id = known.job_id if known.job_id == seen.job_id else seen.job_id
    return {"uid": known.uid, "name": known.name, "created_at": known.created_at, "job_id": job_id}


def _is_older(seen: Seen, known: Seen) -> bool:
    # Resource versions compare as numbers by contract since Kubernetes 1.35, and did in fact before.
    if seen.resource_version.isdigit() and known.resource_version.isdigit():
        return int(seen.resource_version) < int(known.resource_version)
    return False
