"""Queues the runs that the annotation `piko.dev/trigger` of resources asks for.

The inventory names a resource whose annotation has changed, the mirror one that it has compared, which
covers what was annotated while no operator was there. A job is triggered as by the command line, with the
same refusals; the resource has to own the row of its job, in the generation that asks. A value that cannot be
acted on is answered, too: the job would otherwise run days later, when its trouble is repaired and nobody
expects it. What may pass by itself is waited for, and an event says so once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError, NotFoundError, RefusedError, RowsLockedError
from piko.observability.logs import get_logger
from piko.steering.runs import trigger_once
from piko.store.engine import Database
from piko.text import type_name
from piko_operator.conditions import NEEDS_EDIT
from piko_operator.events import Events
from piko_operator.inventory import SCHEDULE, Inventory, Seen
from piko_operator.ownership import Notice
from piko_operator.records import SyncRecord, SyncRecords
from piko_operator.resource_actors import triggering
from piko_operator.resource_backoff import ResourceBackoff
from piko_operator.trigger_annotation import TRIGGER, TriggerAnswer, is_answered, run_id_of, shown

_ROUND = 100
_BACKOFF = Backoff(first_s=0.2, longest_s=5.0)

log = get_logger(__name__)


class Triggers:
    """Accepts resources without waiting, and acts on the value of their annotation once."""

    name = "triggers"

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        events: Events,
        inventory: Inventory,
        look: Callable[[str], None],
        owner: Callable[[Seen], str],
        records: SyncRecords,
    ) -> None:
        self._database = database
        self._clock = clock
        self._events = events
        self._inventory = inventory
        self._look = look
        self._owner = owner
        self._records = records
        self._backoff = ResourceBackoff(clock=clock, backoff=_BACKOFF)
        self._waiting: dict[str, str] = {}

    def look(self, *uids: str) -> None:
        """Act on the annotations of resources that the mirror has compared, where nobody has yet."""
        self._inventory.ask(*(uid for uid in uids if self._is_open(self._inventory.get(uid))))

    async def run(self) -> None:
        """Act until cancelled."""
        await repeat(
            self._round,
            pause_s=lambda: None,
            wake=self._inventory.asked,
            transient=[Transient(errors=(DatabaseUnavailableError,), report=self._away, backoff=_BACKOFF)],
        )

    async def _round(self) -> None:
        for uid in self._inventory.asking(_ROUND):
            self._inventory.asked_no_more(uid)  # first, since it may ask for more meanwhile
            try:
                await self._look_at(self._inventory.get(uid))
            except DatabaseUnavailableError:
                self._inventory.ask(uid)
                raise
        for uid in {*self._waiting, *self._backoff.uids()}:
            if uid not in self._inventory:
                self._settled(uid)

    async def _look_at(self, seen: Seen | None) -> None:
        if seen is None or seen.trigger is None or not self._is_open(seen):
            return
        record = self._records.get(seen.uid)
        if record is None or record.generation != seen.generation:
            return  # the mirror comes first, and names it again
        hindrance = _hindrance(seen, record)
        if hindrance is None:
            await self._act(seen, seen.trigger)
        elif hindrance.passes:
            self._say_waiting(seen, seen.trigger, hindrance.why)
        else:
            self._answer(seen, seen.trigger, refusal=hindrance.why)

    async def _act(self, seen: Seen, value: str) -> None:
        """Queue the run. Raises `DatabaseUnavailableError`; any other error belongs to this resource."""
        owner = self._owner(seen)
        run_id = run_id_of(owner, value)
        actor = triggering(seen, owner, value=shown(value))
        try:
            due = await trigger_once(
                self._database, seen.job_id, run_id=run_id, clock=self._clock, actor=actor
            )
        except RowsLockedError as error:
            self._again(seen, value, error)
        except DatabaseUnavailableError:
            raise
        except (NotFoundError, RefusedError) as error:
            self._answer(seen, value, refusal=str(error))
        except Exception as error:
            log.exception("trigger_failed", namespace=seen.namespace, name=seen.name)
            self._again(seen, value, error)
        else:
            log.info("triggered", job_id=seen.job_id, run_id=run_id, namespace=seen.namespace, name=seen.name)
            self._answer(seen, value, run_id=run_id, due=due)

    def _is_open(self, seen: Seen | None) -> bool:
        """Whether the resource has a value that was neither acted on nor refused."""
        if seen is None or seen.trigger is None or seen.deleting:
            return False
        answer = self._records.answer(seen.uid)
        if answer is not None and answer.value == shown(seen.trigger):
            return False
        return not is_answered(seen.status, seen.trigger)

    def _answer(
        self,
        seen: Seen,
        value: str,
        *,
        run_id: str | None = None,
        due: datetime | None = None,
        refusal: str | None = None,
    ) -> None:
        """Have the status say what was done about `value`."""
        self._settled(seen.uid)
        now = self._clock.now()
        answer = TriggerAnswer(value=shown(value), at=now, run_id=run_id, due=due, refusal=refusal)
        self._records.answered(seen, answer)
        self._look(seen.uid)

    def _settled(self, uid: str) -> None:
        self._backoff.succeeded(uid)
        self._waiting.pop(uid, None)

    def _again(self, seen: Seen, value: str, error: Exception) -> None:
        self._say_waiting(seen, value, f"{type_name(error)}; this is retried")
        pause_s = self._backoff.failed(seen.uid)
        asyncio.get_running_loop().call_later(pause_s, self._inventory.ask, seen.uid)

    def _away(self, error: Exception) -> None:
        for uid in self._inventory.asking(_ROUND):
            seen = self._inventory.get(uid)
            if seen is not None and seen.trigger is not None and self._is_open(seen):
                self._say_waiting(seen, seen.trigger, f"{error}; this is retried until it succeeds")

    def _say_waiting(self, seen: Seen, value: str, why: str) -> None:
        """Say once that `value` has to wait."""
        if self._waiting.get(seen.uid) == value:
            return
        self._waiting[seen.uid] = value
        message = f"{TRIGGER}={shown(value)!r} waits: {why}"
        log.warning("trigger_waits", namespace=seen.namespace, name=seen.name, why=why)
        self._events.post(seen, Notice(type="Warning", reason="TriggerWaits", message=message))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hindrance:
    """Why a resource cannot run its job, and whether that may pass without an edit."""

    why: str
    passes: bool


def _hindrance(seen: Seen, record: SyncRecord) -> _Hindrance | None:
    if seen.kind != SCHEDULE:
        why = f"a {seen.kind} runs nothing; annotate the PikoSchedule of job {seen.job_id!r}"
        return _Hindrance(why=why, passes=False)
    found = record.synced
    if found.status == "True" or found.reason == "Drifted":
        return None
    why = f"the resource is not synced ({found.reason}): {found.message}"
    return _Hindrance(why=why, passes=found.reason not in NEEDS_EDIT)
