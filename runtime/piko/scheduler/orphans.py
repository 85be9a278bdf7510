"""Runs in progress that nobody will end: their instance is gone, or they are its own no longer.

Silence is judged only by who was in touch with the database himself all the while, see `Contact`. What this
replica is said to run and does not was begun under a leadership that it has lost, or by a COMMIT whose answer
never came: seen twice it is nobody's. (With `executor = "replicas"` the taker starts it instead.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from piko.clock import Clock
from piko.leadership.contact import Contact
from piko.model.runs import Run
from piko.store.instances import HEARTBEATS, InstanceStore
from piko.store.runs import RunStore

_BEAT_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """Runs in progress that are not on this replica; of these the lost ones, each with the reason."""

    runs: tuple[Run, ...] = ()
    lost: tuple[tuple[Run, str], ...] = ()


class Orphans:
    """Looks through what the database says is in progress."""

    def __init__(
        self,
        *,
        runs: RunStore,
        instances: InstanceStore,
        instance_id: str,
        contact: Contact,
        clock: Clock,
        heartbeat_interval_s: float,
        lease_s: float,
        taken_in: bool,
    ) -> None:
        self._runs = runs
        self._instances = instances
        self._instance_id = instance_id
        self._contact = contact
        self._clock = clock
        self._heartbeat_interval_s = heartbeat_interval_s
        self._lease_s = lease_s
        self._taken_in = taken_in
        self._seen: set[str] = set()

    async def look(self, *, epoch: int, leads_for_s: float, known: Callable[[], set[str]]) -> Strangers:
        """What is in progress elsewhere; `known`: what this replica runs, or has yet to record.

        `leads_for_s`: how long this replica has led under `epoch`. Raises `DatabaseUnavailableError`.
        """
        ours = known()  # first: what ends meanwhile is no stranger
        running = await self._runs.running()
        ours |= known()
        strangers = tuple(run for run in running if run.run_id not in ours)
        before, self._seen = self._seen, {run.run_id for run in strangers}
        if not strangers:
            return Strangers()
        living = await self._instances.living(within_s=self._heartbeat_interval_s * HEARTBEATS)
        # While the database was away nobody was heard of; when it is back each needs a beat.
        one_beat_s = self._heartbeat_interval_s + _BEAT_PATIENCE_S
        may_judge = self._contact.unbroken_for(self._clock.monotonic()) >= one_beat_s
        lost: list[tuple[Run, str]] = []
        for run in strangers:
            instance_id, begun_under = run.instance_id or "", run.epoch or 0
            taken_away = begun_under <= living.get(instance_id, 0)
            if instance_id not in living:
                if may_judge:
                    lost.append((run, f"its instance {instance_id} is gone"))
            elif instance_id == self._instance_id:
                if taken_away or (not self._taken_in and (begun_under < epoch or run.run_id in before)):
                    lost.append((run, "its instance began it under another leadership, and does not run it"))
            # A deposed leader that lives learns of it when it renews, and then cancels what it runs.
            elif taken_away and leads_for_s >= self._lease_s:
                lost.append((run, f"its instance {instance_id} lost leadership and can no longer record it"))
        return Strangers(runs=strangers, lost=tuple(lost))
