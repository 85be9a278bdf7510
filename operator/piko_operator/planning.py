"""Turns a resource into a plan: what it wants of its row, or why that is unknown.

This is where a resource may take time, because Secrets are read and finalizers set. Each resource is prepared
in its own task, and the caller waits only briefly, so that one that hangs holds up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import ValidationError

from piko.model.managed import R
from piko.text import listed
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.inventory import Inventory, Seen
from piko_operator.manifests import explain
from piko_operator.mapping import config_row, describe, schedule_row
from piko_operator.records import SyncRecords
from piko_operator.resources import API_VERSION, MODELS, PikoSchedule
from piko_operator.secrets import SecretUnavailableError, read_secrets

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
        cluster: Cluster,
        inventory: Inventory,
        owner: Callable[[Seen], str],
        records: SyncRecords,
    ) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._owner = owner
        self._records = records
        self._tasks: dict[str, tuple[Seen, asyncio.Task[Plan[Any] | None]]] = {}

    async def plans(self, chosen: Sequence[Seen]) -> list[Plan[Any]]:
        """The plans that are ready soon; a later one marks its resource again when it is ready."""
        for seen in chosen:
            known = self._tasks.get(seen.uid)
            if known is None or (known[1].done() and known[0].resource_version != seen.resource_version):
                task = asyncio.create_task(self._prepare(seen))
                self._tasks[seen.uid] = (seen, task)
        tasks = {seen.uid: self._tasks[seen.uid][1] for seen in chosen}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=_PATIENCE_S)
        ready = []
        for uid, task in tasks.items():
            if not task.done():
                task.add_done_callback(self._marking(uid))
                continue
            del self._tasks[uid]
            if (plan := task.result()) is not None:
                ready.append(plan)
        return ready

    async def close(self) -> None:
        """Cancel plans in preparation."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget_deleted(self) -> None:
        for uid, (_, task) in list(self._tasks.items()):
            if task.done() and uid not in self._inventory:
                del self._tasks[uid]

    def _marking(self, uid: str) -> Callable[[object], None]:
        return lambda _: self._inventory.mark(uid)

    async def _prepare(self, seen: Seen) -> Plan[Any] | None:
        owner = self._owner(seen)
        if seen.deleting:
            return Plan(seen=seen, owner=owner) if seen.is_held else None
        try:
            plan = await self._plan(seen, owner)
            if plan is not None and not seen.is_held:
                self._inventory.observe(await self._cluster.hold(seen))
        except ClusterError as error:
            if error.status != 404:
                self._records.refused(seen, error)
            return None
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            self._records.fault(seen, error)
            return None
        return plan

    async def _plan(self, seen: Seen, owner: str) -> Plan[Any] | None:
        document = {
            "apiVersion": API_VERSION,
            "kind": seen.kind,
            "metadata": {"name": seen.name, "namespace": seen.namespace, "uid": seen.uid},
            "spec": seen.spec,
        }
        try:
            resource = MODELS[seen.kind].model_validate(document)
        except ValidationError as error:
            problems = listed(explain(error), separator="; ")
            self._records.fail(seen, "InvalidSpec", f"{problems}; the row is unchanged")
            return None
        policies = {
            "adoption_policy": resource.spec.adoption_policy,
            "drift_policy": resource.spec.drift_policy,
        }
        if isinstance(resource, PikoSchedule):
            row = schedule_row(resource, owner=owner)
            line = describe(resource.spec.schedule)
            return Plan(seen=seen, owner=owner, wanted=row, schedule=line, **policies)
        try:
            secret = await read_secrets(resource, cluster=self._cluster)
        except SecretUnavailableError as error:
            self._records.fail(seen, "SecretUnavailable", f"{error}; the row is unchanged")
            return None
        return Plan(
            seen=seen, owner=owner, wanted=config_row(resource, owner=owner, secret=secret), **policies
        )
