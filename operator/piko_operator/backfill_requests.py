"""Asks for the backfills that resources declare, follows them, and cancels those of deleted resources.

The id of a backfill is made from the uid of its resource, so it is asked for once, whatever is killed
meanwhile. The finalizer is set before, and removed once the backfill has ended: while it may still run,
deleting its resource cancels it. A backfill that has ended is not looked at again until its resource changes
or its time to live is over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

from pydantic import ValidationError

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.core.types import BackfillState
from piko.errors import DatabaseUnavailableError, InputError, NotFoundError, RowsLockedError
from piko.model.backfills import OPEN_STATES, Backfill
from piko.observability.logs import get_logger
from piko.steering.backfills import start_once
from piko.store.backfills import BackfillStore
from piko.store.engine import Database
from piko.store.reports.summaries import Summaries
from piko.text import error_text, instant_text, listed, type_name
from piko_operator.backfill_report import (
    asked,
    backfill_id_of,
    backfill_news,
    backfill_status,
    row_deleted,
    was_asked,
)
from piko_operator.backfill_spec import BackfillRangeSpec
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.conditions import merge_patch
from piko_operator.events import Events
from piko_operator.identity import Identity, IdentityError
from piko_operator.inventory import BACKFILL, Inventory, Seen
from piko_operator.manifests import explain
from piko_operator.ownership import Condition, Notice, synced
from piko_operator.pacing import GAP_S, is_urgent
from piko_operator.resource_actors import asking
from piko_operator.resource_backoff import ResourceBackoff
from piko_operator.resources import API_VERSION, PikoBackfill
from piko_operator.shapes import duration_seconds
from piko_operator.tally import ConditionTally
from piko_operator.tenancy import Tenant, in_another_place, not_allowed
from piko_operator.wakes import Wakes

_ROUND = 500
_AT_ONCE = 8
_AWAY = Backoff(first_s=0.2, longest_s=5.0)
_AGAIN = Backoff(first_s=1.0, longest_s=60.0)
"""When a resource is tried again that is refused, or whose call has failed."""

log = get_logger(__name__)


class BackfillRequests:
    """Keeps each open backfill as its resource says, and the status as the backfill is."""

    name = "backfills"

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        database: Database,
        events: Events,
        identity: Identity,
        inventory: Inventory,
        owner: Callable[[Seen], str],
        tally: ConditionTally,
        tenants: Sequence[Tenant],
        timezone: str,
        interval_s: float,
        served_by: str,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._events = events
        self._identity = identity
        self._inventory = inventory
        self._owner = owner
        self._tally = tally
        self._tenants = tenants
        self._interval_s = interval_s
        self._served_by = served_by
        self._start = partial(start_once, database, zone=timezone, clock=clock)
        self._store = BackfillStore(database=database)
        self._summaries = Summaries(database=database)
        self._backoff = ResourceBackoff(clock=clock, backoff=_AGAIN)
        self._wakes = Wakes(look=inventory.compare, clock=clock)
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._open: dict[str, None] = {}
        self._written_at: dict[str, float] = {}

    async def run(self) -> None:
        """Ask and follow until cancelled."""
        await repeat(
            self._round,
            pause_s=lambda: self._interval_s if self._open else None,
            wake=self._inventory.marked,
            transient=[
                Transient(errors=(DatabaseUnavailableError,), report=self._away, backoff=_AWAY),
                # Already reported, in the log and by `/readyz`.
                Transient(errors=(IdentityError,), report=lambda _: None, backoff=_AWAY),
            ],
        )

    async def _round(self) -> None:
        for uid in self._inventory.take_touched():
            if uid not in self._inventory:
                self._forget(uid)
        marked, done = self._inventory.take_marked(_ROUND), False
        try:
            await self._look_at({seen.uid: seen for seen in (*marked, *self._next_open())})
            done = True
        except (DatabaseUnavailableError, IdentityError) as error:
            await self._say_unknown(marked, error)
            raise
        finally:
            if not done:  # keep the work for the next round, or for the restart of this part
                self._inventory.mark(*(seen.uid for seen in marked))

    def _next_open(self) -> list[Seen]:
        """Those that have not ended, in turn."""
        uids = list(islice(self._open, _ROUND))
        for uid in uids:
            del self._open[uid]
            self._open[uid] = None
        return [seen for uid in uids if (seen := self._inventory.get(uid)) is not None]

    async def _look_at(self, chosen: Mapping[str, Seen]) -> None:
        if not chosen:
            return
        await self._identity.confirm()
        ids = {uid: backfill_id_of(uid) for uid in chosen}
        rows = await self._store.of_ids(ids.values())
        is_open = any(row.state in OPEN_STATES for row in rows.values())
        running = await self._store.running() if is_open else Counter[str]()
        each = (self._one(seen, rows.get(ids[uid]), running[ids[uid]]) for uid, seen in chosen.items())
        for result in await asyncio.gather(*each, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _one(self, seen: Seen, row: Backfill | None, running: int) -> None:
        """Raises `DatabaseUnavailableError`; any other error belongs to this resource."""
        async with self._turn:
            try:
                await self._reconcile(seen, row, running)
            except RowsLockedError as error:
                self._again(seen, error)
            except DatabaseUnavailableError:
                raise
            except ClusterError as error:
                if error.status != 404:  # otherwise it was deleted, which the watch will show
                    self._again(seen, error)
            except Exception as error:
                log.exception("backfill_failed", namespace=seen.namespace, name=seen.name)
                self._again(seen, error)
        if (known := self._inventory.get(seen.uid)) is not None:
            self._tally.note(known.uid, BACKFILL, known.true_conditions)

    async def _reconcile(self, seen: Seen, row: Backfill | None, running: int) -> None:
        if seen.deleting:
            await self._release(seen, row)
            return
        spec, found = self._spec(seen)
        if spec is not None and row is not None:
            row = await self._steer(seen, spec, row)
            found = asked(row, spec)
        elif spec is not None and was_asked(seen.status):
            found = row_deleted(seen.status)
        elif spec is not None:
            row, found = await self._ask(seen, spec)
        await self._write(seen, found, row, running)
        await self._follow(seen, spec, found, row)

    def _spec(self, seen: Seen) -> tuple[BackfillRangeSpec | None, Condition]:
        """The spec as a typed model; None, and the condition that says why, if it is refused."""
        document = {
            "apiVersion": API_VERSION,
            "kind": seen.kind,
            "metadata": {"name": seen.name, "namespace": seen.namespace, "uid": seen.uid},
            "spec": seen.spec,
        }
        try:
            resource = PikoBackfill.model_validate(document)
        except ValidationError as error:
            return None, synced("False", "InvalidSpec", listed(explain(error), separator="; "))
        refusal = not_allowed(resource, self._tenants)
        if refusal is not None:
            return None, synced("False", "NotAllowed", f"{refusal}; nothing was written")
        return resource.spec, synced("True", "Synced", "")

    async def _ask(self, seen: Seen, spec: BackfillRangeSpec) -> tuple[Backfill | None, Condition]:
        """Ask for the backfill. Raises `ClusterError` and `DatabaseUnavailableError`."""
        if spec.end > self._clock.now():
            self._wakes.at(seen.uid, spec.end)
            when = instant_text(spec.end)
            return None, synced("False", "NotDue", f"spec.to: its windows run once {when} has passed")
        owner = self._owner(seen)
        job = (await self._summaries.jobs([spec.job_id])).get(spec.job_id)
        if job is not None and in_another_place(owner, job.managed_by):
            message = (
                f"spec.jobId: the schedule of job {spec.job_id!r} comes from another namespace; create the "
                "PikoBackfill in the namespace of its PikoSchedule"
            )
            return None, synced("False", "NotAllowed", message)
        if not seen.is_held:  # before it runs, so that a deletion always cancels it
            self._inventory.observe(await self._cluster.hold(seen))
        try:
            row = await self._start(
                spec.job_id,
                backfill_id=backfill_id_of(seen.uid),
                owner=owner,
                begin=spec.start,
                end=spec.end,
                parallel=spec.parallel,
                paused=_is_paused(seen, spec),
                actor=asking(seen, owner),
            )
        except NotFoundError as error:
            return None, synced("False", "JobMissing", f"{error}; this is retried")
        except InputError as error:
            return None, synced("False", "Refused", f"{error}; this is retried")
        log.info("backfill_asked_for", job_id=row.job_id, backfill_id=row.backfill_id, name=seen.name)
        return row, asked(row, spec)

    async def _steer(self, seen: Seen, spec: BackfillRangeSpec, row: Backfill) -> Backfill:
        """Have the backfill run as the resource says; the row as it is then."""
        wanted = BackfillState.PAUSED if _is_paused(seen, spec) else BackfillState.ACTIVE
        if row.state not in OPEN_STATES or (row.state is wanted and row.parallelism == spec.parallel):
            return row
        actor = asking(seen, self._owner(seen))
        if row.parallelism != spec.parallel:
            await self._store.set_parallelism(row, spec.parallel, actor=actor)
        if row.state is not wanted:
            now = self._clock.now()
            await self._store.change_state(row, to=wanted, of=OPEN_STATES, now=now, actor=actor)
        is_known = seen.status.get("observedGeneration") == seen.generation
        if is_known and seen.status.get("paused") == seen.paused:
            message = f"the row of backfill {row.backfill_id} was edited; restored what the resource says"
            self._events.post(seen, Notice(type="Warning", reason="DriftCorrected", message=message))
        return (await self._store.of_ids([row.backfill_id])).get(row.backfill_id, row)

    async def _release(self, seen: Seen, row: Backfill | None) -> None:
        """Cancel the backfill of a deleted resource, and let the resource end."""
        if row is not None and row.state in OPEN_STATES:
            actor, now = asking(seen, self._owner(seen)), self._clock.now()
            await self._store.change_state(
                row, to=BackfillState.CANCELLED, of=OPEN_STATES, now=now, actor=actor
            )
            log.info("backfill_cancelled", job_id=row.job_id, backfill_id=row.backfill_id, name=seen.name)
        if seen.is_held and not seen.deleted:
            await self._cluster.let_go(seen)
        if seen.is_held or seen.deleted:
            self._inventory.forget(seen.uid)
            self._forget(seen.uid)

    async def _follow(
        self, seen: Seen, spec: BackfillRangeSpec | None, found: Condition, row: Backfill | None
    ) -> None:
        """Look at it again in time: while it is open, while it is refused, and when it is to be deleted."""
        if row is not None and row.state in OPEN_STATES:
            self._backoff.succeeded(seen.uid)
            self._open[seen.uid] = None
            return
        self._open.pop(seen.uid, None)
        if row is None:
            if found.reason in ("JobMissing", "Refused", "NotAllowed"):
                self._look_again(seen)
            return
        known = self._inventory.get(seen.uid) or seen
        if known.is_held:
            await self._cluster.let_go(known)
        if spec is not None and spec.ttl_after_finished is not None and row.finished_at is not None:
            due = row.finished_at + timedelta(seconds=duration_seconds(spec.ttl_after_finished))
            if due <= self._clock.now():
                await self._cluster.delete(seen)
            else:
                self._wakes.at(seen.uid, due)

    async def _write(self, seen: Seen, found: Condition, row: Backfill | None, running: int) -> None:
        """Write the status if it differs; the progress of windows only now and then."""
        known = self._inventory.get(seen.uid)
        if known is None:
            return
        before: Mapping[str, Any] = known.status
        status = backfill_status(
            before,
            generation=seen.generation,
            paused=seen.paused,
            found=found,
            row=row,
            running=running,
            now=self._clock.now(),
        )
        status["servedBy"] = self._served_by
        if seen.reconcile_at is not None:
            status["lastHandledReconcileAt"] = seen.reconcile_at
        patch, now = merge_patch(before, status), self._clock.monotonic()
        waits = now < self._written_at.get(seen.uid, float("-inf")) + GAP_S
        if not patch or (waits and not is_urgent(before, status)):
            return
        patched = await self._cluster.patch_status(known, patch)
        self._written_at[seen.uid] = now
        self._inventory.observe(patched)
        for notice in backfill_news(before, status):
            self._events.post(seen, notice)

    async def _say_unknown(
        self, marked: Sequence[Seen], error: DatabaseUnavailableError | IdentityError
    ) -> None:
        """Say of resources that nothing was asked for yet that this has to wait."""
        reason = error.reason if isinstance(error, IdentityError) else "DatabaseUnavailable"
        found = synced("Unknown", reason, f"{error}; this is retried until it succeeds")
        for seen in marked:
            if not was_asked(seen.status) and not seen.deleting:
                try:
                    await self._write(seen, found, None, 0)
                except ClusterError as refused:
                    log.warning("status_not_written", name=seen.name, error=str(refused))

    def _again(self, seen: Seen, error: Exception) -> None:
        pause_s = self._look_again(seen)
        log.warning(
            "backfill_waits",
            namespace=seen.namespace,
            name=seen.name,
            error=error_text(error) if isinstance(error, ClusterError) else type_name(error),
            again_in_s=pause_s,
        )

    def _look_again(self, seen: Seen) -> float:
        pause_s = self._backoff.failed(seen.uid)
        self._wakes.within(seen.uid, pause_s)
        return pause_s

    def _away(self, error: Exception) -> None:
        log.info("backfills_without_database", error=str(error))

    def _forget(self, uid: str) -> None:
        self._open.pop(uid, None)
        self._written_at.pop(uid, None)
        self._backoff.succeeded(uid)
        self._wakes.forget(uid)
        self._tally.forget(uid)


def _is_paused(seen: Seen, spec: BackfillRangeSpec) -> bool:
    """Whether the spec or the annotation pauses the backfill."""
    return spec.suspend or seen.paused is not None
