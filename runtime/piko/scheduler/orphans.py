"""Looks for runs in progress that nobody will end, by the rules of `piko.decisions.orphans`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from piko.clock import Clock
from piko.decisions.events import UnknownRunsFound
from piko.decisions.orphans import Vantage, orphans, unbegun
from piko.leadership.contact import Contact
from piko.leadership.failure_detector import FailureDetector
from piko.model.runs import Run
from piko.store.instances import HEARTBEATS, InstanceStore
from piko.store.runs import RunStore

_BEAT_PATIENCE_S = 2.0


class Orphans:
    """Looks through what the database says is in progress. `fetches`: see `Vantage`."""

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
        fetches: bool,
        detector: FailureDetector,
    ) -> None:
        self._runs = runs
        self._instances = instances
        self._instance_id = instance_id
        self._contact = contact
        self._clock = clock
        self._heartbeat_interval_s = heartbeat_interval_s
        self._lease_s = lease_s
        self._fetches = fetches
        self._detector = detector
        self._dead: frozenset[str] = frozenset()
        self._seen: set[str] = set()

    @property
    def has_news(self) -> bool:
        """Whether an instance is presumed dead that was not at the last look."""
        return not self._dead.issuperset(self._detector.presumed_dead)

    async def look(
        self, *, epoch: int, leads_for_s: float, known: Callable[[], set[str]]
    ) -> UnknownRunsFound:
        """What is in progress on other replicas; `known`: what this one runs, or has yet to record.

        `leads_for_s`: how long this replica has led under `epoch`. Raises `DatabaseUnavailableError`.
        """
        self._dead = frozenset(self._detector.presumed_dead)
        ours = known()  # first: what ends meanwhile is not unknown
        running = await self._runs.running()
        ours |= known()
        unknown = [run for run in running if run.run_id not in ours]
        before, self._seen = self._seen, {run.run_id for run in unknown}
        if not unknown:
            return UnknownRunsFound(runs=(), lost=(), now=self._clock.now())
        living = await self._instances.living(within_s=self._heartbeat_interval_s * HEARTBEATS)
        # While the database was away nobody was heard of; when it is back each needs a beat.
        one_beat_s = self._heartbeat_interval_s + _BEAT_PATIENCE_S
        vantage = Vantage(
            instance_id=self._instance_id,
            epoch=epoch,
            leads_for_s=leads_for_s,
            lease_s=self._lease_s,
            may_judge_silence=self._contact.unbroken_for(self._clock.monotonic()) >= one_beat_s,
            fetches=self._fetches,
            dead=self._dead,
        )
        waiting = await self._unbegun(unknown, epoch)
        begun = [run for run in unknown if run not in waiting]
        lost = orphans(begun, living=living, seen_before=before, vantage=vantage)
        return UnknownRunsFound(runs=unknown, lost=lost, unbegun=waiting, now=self._clock.now())

    async def _unbegun(self, runs: Sequence[Run], epoch: int) -> list[Run]:
        """Those of `runs` that were claimed ahead and will never begin where they are."""
        ahead = [run for run in runs if run.starts_at is not None]
        if not ahead:
            return []
        marks = await self._instances.start_marks({run.instance_id or "" for run in ahead})
        return unbegun(ahead, marks, instance_id=self._instance_id, epoch=epoch)
