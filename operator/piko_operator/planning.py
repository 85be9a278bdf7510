"""Turns a resource into a plan: what it wants of its row, or why that is unknown.

A resource that names Secrets or ConfigMaps may take time. It is prepared in its own task, and the caller
waits only briefly, so that one that hangs holds up no other. Any other resource is planned at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

from pydantic import ValidationError

from piko.model.managed import R
from piko.text import listed
from piko_operator.cluster_error import ClusterError
from piko_operator.config_sources import SourceUnavailableError, read_sources
from piko_operator.inventory import Inventory, Seen
from piko_operator.manifests import explain
from piko_operator.mapping import config_row, describe, schedule_row
from piko_operator.records import SyncRecords
from piko_operator.resources import API_VERSION, MIRRORED, Mirrored, PikoJobConfig, PikoSchedule
from piko_operator.source_reader import SourceReader
from piko_operator.sources import Source, SourceUsers, referred
from piko_operator.tenancy import Tenant, not_allowed

_PATIENCE_S = 0.5
"""Seconds that a round waits for slow resources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Generic[R]):
    """What a resource wants of its row; `wanted` is None if the resource is being deleted."""

    seen: Seen
    owner: str
    wanted: R | None = None
    adoption_policy: str = "Refuse"
    drift_policy: str = "Enforce"
    schedule: str | None = None


class Planner:
    """Prepares plans; a resource without a usable plan gets a record instead."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        owner: Callable[[Seen], str],
        reader: SourceReader,
        records: SyncRecords,
        tenants: Sequence[Tenant],
        users: SourceUsers,
    ) -> None:
        self._inventory = inventory
        self._owner = owner
        self._reader = reader
        self._records = records
        self._tenants = tenants
        self._users = users
        self._tasks: dict[str, tuple[Seen, asyncio.Task[Plan[Any] | None]]] = {}

    async def plans(self, chosen: Sequence[Seen]) -> list[Plan[Any]]:
        """The plans that are ready soon; a later one marks its resource again when it is ready."""
        at_once = [self._prepared(seen) for seen in chosen if not _takes_time(seen)]
        ready = [plan for plan in at_once if plan is not None]
        tasks = {seen.uid: self._task(seen) for seen in chosen if _takes_time(seen)}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=_PATIENCE_S)
        for uid, task in tasks.items():
            if not task.done():
                task.add_done_callback(self._marking(uid))
                continue
            self._tasks.pop(uid, None)
            if (plan := task.result()) is not None:
                ready.append(plan)
        return ready

    def source_changed(self, source: Source) -> None:
        """Have the resources that name `source` planned again, with what it holds now."""
        self._reader.changed(source)
        for uid in self._users.of(source):
            self._tasks.pop(uid, None)  # what is in preparation may have read it before
            if uid in self._inventory:
                self._inventory.mark(uid)
            else:
                self._users.forget(uid)

    async def close(self) -> None:
        """Cancel plans in preparation."""
        self._reader.close()
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, seen: Seen) -> asyncio.Task[Plan[Any] | None]:
        known = self._tasks.get(seen.uid)
        if known is None or (known[1].done() and known[0].resource_version != seen.resource_version):
            self._tasks[seen.uid] = (seen, asyncio.create_task(self._prepare(seen)))
        return self._tasks[seen.uid][1]

    def _marking(self, uid: str) -> Callable[[object], None]:
        def mark(_: object) -> None:
            if uid in self._inventory:
                self._inventory.mark(uid)
            else:
                self._tasks.pop(uid, None)

        return mark

    def _prepared(self, seen: Seen) -> Plan[Any] | None:
        """The plan of a resource whose row holds nothing of other objects."""
        self._users.forget(seen.uid)
        if seen.deleting:
            return Plan(seen=seen, owner=self._owner(seen)) if seen.is_held or seen.deleted else None
        try:
            resource = self._resource(seen)
            return None if resource is None else self._plan_of(seen, resource, secret=None)
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            self._records.fault(seen, error)
            self._records.try_again(seen)
            return None

    async def _prepare(self, seen: Seen) -> Plan[Any] | None:
        """The plan of a resource whose row holds content of other objects."""
        try:
            resource = self._resource(seen)
            if not isinstance(resource, PikoJobConfig):
                return None
            # Noted before it is read, so that no change after that goes unseen.
            self._users.note(seen.uid, [source for source, _ in referred(resource)])
            secret = await read_sources(resource, reader=self._reader)
            return self._plan_of(seen, resource, secret=secret)
        except SourceUnavailableError as error:
            self._records.fail(seen, error.reason, f"{error}; the row is unchanged")
        except ClusterError as error:
            self._records.refused(seen, error)
            self._records.try_again(seen)
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            self._records.fault(seen, error)
            self._records.try_again(seen)
        return None

    def _resource(self, seen: Seen) -> Mirrored | None:
        """The resource as a typed model; None, and a record, if its spec is refused."""
        document = {
            "apiVersion": API_VERSION,
            "kind": seen.kind,
            "metadata": {"name": seen.name, "namespace": seen.namespace, "uid": seen.uid},
            "spec": seen.spec,
        }
        try:
            resource = MIRRORED[seen.kind].model_validate(document)
        except ValidationError as error:
            problems = listed(explain(error), separator="; ")
            self._records.fail(seen, "InvalidSpec", f"{problems}; the row is unchanged")
            return None
        refusal = not_allowed(resource, self._tenants)
        if refusal is not None:
            self._records.fail(seen, "NotAllowed", f"{refusal}; nothing was written")
            return None
        return resource

    def _plan_of(self, seen: Seen, resource: Mirrored, *, secret: Mapping[str, Any] | None) -> Plan[Any]:
        owner = self._owner(seen)
        policies = {
            "adoption_policy": resource.spec.adoption_policy,
            "drift_policy": resource.spec.drift_policy,
        }
        if isinstance(resource, PikoSchedule):
            row = schedule_row(resource, owner=owner)
            if seen.paused is not None:
                row = replace(row, enabled=False)
            line = describe(resource.spec.schedule)
            return Plan(seen=seen, owner=owner, wanted=row, schedule=line, **policies)
        wanted = config_row(resource, owner=owner, secret=secret)
        return Plan(seen=seen, owner=owner, wanted=wanted, **policies)


def _takes_time(seen: Seen) -> bool:
    return not seen.deleting and seen.names_sources
