"""Removes Piko's finalizer from the resources of an operator that runs no more.

A page is listed, its finalizers are removed, a few at a time, and the next page follows: memory stays small
with any number of resources. Passes are repeated until one finds nothing to remove, so a resource that was
changed at the same moment, or that an operator holds again, is found by the next one. No row is touched.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from piko.background.backoff import Backoff
from piko_operator.cluster_error import ClusterError
from piko_operator.inventory import PLURALS, Seen
from piko_operator.resource_api import KubernetesApi, let_go, pages

_NAMES = 20
_TRIES = 6
_BACKOFF = Backoff(first_s=0.5, longest_s=8.0)
_CHANGED = frozenset({409, 422})
"""Answers to a patch that was made for an older state of the object."""
_MISSING, _EXPIRED, _TOO_MANY, _SERVER = 404, 410, 429, 500


@dataclass(slots=True)
class Names:
    """How many, and the first of them by name."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.first) < _NAMES:
            self.first.append(name)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        return ", ".join([*self.first, *([f"and {more:,} more"] if more else [])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Whose finalizers are meant: those of resources of one class, by whichever operators have served them.

    - `class_name`: the class; None: the resources without one.
    - `namespaces`: of the resources; empty: all.
    - `lease_namespace`, `lease_name`: the Lease of the operator, which the status of what it serves names;
      None: any. A resource whose status names none was served by nobody else.
    """

    class_name: str | None = None
    namespaces: tuple[str, ...] = ()
    lease_namespace: str | None = None
    lease_name: str | None = None

    def why_not(self, seen: Seen) -> str | None:
        """Why the finalizer of a resource is not meant; None: it is."""
        if seen.class_name != self.class_name:
            return "without a class" if seen.class_name is None else f"of class {seen.class_name}"
        namespace, _, name = _served_by(seen).partition("/")
        if namespace and (
            self.lease_namespace not in (None, namespace) or self.lease_name not in (None, name)
        ):
            return f"served by {namespace}/{name}"
        return None


@dataclass(slots=True)
class Pass:
    """What one look at all resources has found, and done.

    - `held`: how many resources are meant, and were held when they were seen, by kind.
    - `leases`: of the operators that have served them: namespace and name.
    - `deleting`: of those that are held, the ones that are being deleted.
    - `others`: held resources that are not meant, by the reason.
    - `changed`: how many were changed by somebody else at the same moment.
    - `failed`: those whose finalizer could not be removed, each with the answer.
    - `unseen`: what could not be listed, each with the answer.
    """

    held: Counter[str] = field(default_factory=Counter)
    leases: set[str] = field(default_factory=set)
    deleting: Names = field(default_factory=Names)
    others: dict[str, Names] = field(default_factory=dict)
    changed: int = 0
    failed: Names = field(default_factory=Names)
    unseen: Names = field(default_factory=Names)


class FinalizerRemoval:
    """The removal from all resources that are meant. `removed` and `ended` count what was done so far.

    - `ended`: resources that had been deleted and waited for the finalizer alone, or for others still.
    - `progress`: is called with the number of removed finalizers after each page.
    """

    def __init__(self, *, api: KubernetesApi, served: Served, progress: Callable[[int], None]) -> None:
        self._api = api
        self._served = served
        self._progress = progress
        self.removed: Counter[str] = Counter()
        self.ended = Names()

    async def look(self) -> Pass:
        """What there is; nothing is changed. Raises `ClusterError` if the API server does not answer."""
        return await self._pass(remove=False)

    async def remove(self) -> Pass:
        """One pass that removes what it finds. Raises `ClusterError` if the API server does not answer."""
        return await self._pass(remove=True)

    async def _pass(self, *, remove: bool) -> Pass:
        found = Pass()
        for kind in PLURALS:
            for namespace in self._served.namespaces or (None,):
                await self._list(kind, namespace, found, remove=remove)
        return found

    async def _list(self, kind: str, namespace: str | None, found: Pass, *, remove: bool) -> None:
        """Handle the resources of one listing, which begins again where it was cut off."""
        handled: set[str] = set()
        for tried in range(1, _TRIES + 1):
            try:
                async for page in pages(self._api, kind, namespace=namespace):
                    held = [seen for seen in page if seen.is_held and seen.uid not in handled]
                    handled.update(seen.uid for seen in held)
                    await self._handle(held, found, remove=remove)
            except ClusterError as error:
                if error.status == _MISSING:  # the definition is not installed
                    return
                if not _may_pass(error):
                    where = "" if namespace is None else f" in namespace {namespace}"
                    found.unseen.add(f"{PLURALS[kind]}{where}: {error}")
                    return
                if tried == _TRIES:
                    raise
                await asyncio.sleep(_BACKOFF.pause_s(tried))
            else:
                return

    async def _handle(self, held: list[Seen], found: Pass, *, remove: bool) -> None:
        meant = []
        for seen in held:
            reason = self._served.why_not(seen)
            if reason is not None:
                found.others.setdefault(reason, Names()).add(_named(seen))
                continue
            meant.append(seen)
            found.held[seen.kind] += 1
            found.leases |= {_served_by(seen)} - {""}
            if seen.deleting:
                found.deleting.add(_named(seen))
        if remove:
            async with asyncio.TaskGroup() as group:
                for seen in meant:
                    group.create_task(self._remove(seen, found))
            self._progress(self.removed.total())

    async def _remove(self, seen: Seen, found: Pass) -> None:
        for tried in range(1, _TRIES + 1):
            try:
                after = await let_go(self._api, seen)
            except ClusterError as error:
                if error.status in _CHANGED:
                    found.changed += 1
                elif _may_pass(error) and tried < _TRIES:
                    await asyncio.sleep(_BACKOFF.pause_s(tried))
                    continue
                found.failed.add(f"{_named(seen)}: {error}")
                return
            if after is not None:  # otherwise it is deleted, and had no finalizer any more
                self.removed[seen.kind] += 1
                if "deletionTimestamp" in after["metadata"]:
                    self.ended.add(_named(seen))
            return


def _may_pass(error: ClusterError) -> bool:
    """Whether the same call may succeed a moment later."""
    return error.status in (0, _EXPIRED, _TOO_MANY) or error.status >= _SERVER


def _served_by(seen: Seen) -> str:
    return str(seen.status.get("servedBy") or "")


def _named(seen: Seen) -> str:
    return f"{seen.kind} {seen.namespace}/{seen.name}"
