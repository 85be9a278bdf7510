"""Looks, each in its own time, at runs that are not in this replica's hands: what waits, ends, or is lost."""

from __future__ import annotations

from piko.background.rest import Rest
from piko.clock import Clock
from piko.core.types import RunState
from piko.decisions.events import RemoteRunsRead
from piko.execution.executor import Executor
from piko.execution.ledger import Ledger
from piko.execution.upcoming import UpcomingRuns
from piko.scheduler.driver import Driver
from piko.scheduler.insistence import Insistence
from piko.scheduler.orphans import Orphans
from piko.store.run_progress import FEW
from piko.store.runs import RunStore

_REMOTE_S = 0.2
"""How often it is looked for ends that other replicas record."""
_IN_CHAIN = Rest(times=4.0, least_s=0.02, longest_s=_REMOTE_S)
"""The same where the next window waits for one of these ends."""


class Lookout:
    """For one term: reads what the leader is to know, and feeds it."""

    def __init__(
        self,
        *,
        driver: Driver,
        insist: Insistence,
        runs: RunStore,
        orphans: Orphans,
        executor: Executor,
        upcoming: UpcomingRuns,
        ledger: Ledger,
        clock: Clock,
        heartbeat_interval_s: float,
        poll_interval_s: float,
    ) -> None:
        self._driver = driver
        self._insist = insist
        self._runs = runs
        self._orphans = orphans
        self._executor = executor
        self._upcoming = upcoming
        self._ledger = ledger
        self._clock = clock
        self._heartbeat_interval_s = heartbeat_interval_s
        self._poll_interval_s = poll_interval_s
        self._term_began = clock.monotonic()
        self._took_s = 0.0
        self._begun: set[str] = set()
        """Runs on other replicas that have begun, and not ended, as far as is known."""
        self._at_queue = self._at_orphans = self._at_remote = float("-inf")

    async def look(self) -> None:
        """Look at what is due to be looked at. Raises `FencedError`."""
        moment = self._clock.monotonic()
        if self._orphans.has_news or moment - self._at_orphans >= self._heartbeat_interval_s:
            await self._look_for_orphans()
            self._at_orphans = moment
        if moment - self._at_remote >= self._remote_every_s():
            await self._look_at_remote_runs()
            self._at_remote = self._clock.monotonic()
            self._took_s = self._at_remote - moment
        if moment - self._at_queue >= self._poll_interval_s:
            queue = await self._driver.queue.read(asked=self._driver.leader.runs.waiting_ids)
            await self._driver.feed(queue)
            self._driver.rows.try_again()
            self._at_queue = moment

    def rests_s(self) -> float:
        """How long nothing is to be looked at, at most."""
        if not self._driver.leader.runs.remote_ids:
            return self._poll_interval_s
        return min(self._poll_interval_s, self._remote_every_s())

    def _remote_every_s(self) -> float:
        if not self._driver.leader.awaits_remote_end(without=self._executor.run_ids):
            return _REMOTE_S
        return _IN_CHAIN.after_s(self._took_s)

    async def _look_at_remote_runs(self) -> None:
        asked = self._driver.leader.runs.remote_ids
        self._begun &= asked
        if not asked:
            return
        taken = None
        if len(asked) > FEW:
            taken = self._driver.leader.runs.taken_ids(await self._insist(self._runs.oldest_offer))
        moved, waiting = (asked, True) if taken is None else (taken, False)
        read = await self._insist(lambda: self._runs.progress(moved, begun=self._begun, waiting=waiting))
        found = {run_id: run for run_id, run in read.items() if run is not None}
        self._begun.update(run_id for run_id, run in found.items() if run.state is RunState.RUNNING)
        if read:
            now = self._clock.now()
            await self._driver.feed(RemoteRunsRead(asked=read.keys(), found=found, now=now))

    async def _look_for_orphans(self) -> None:
        found = await self._insist(
            lambda: self._orphans.look(
                epoch=self._driver.fence.epoch,
                leads_for_s=self._clock.monotonic() - self._term_began,
                known=lambda: self._executor.run_ids | self._upcoming.run_ids | self._ledger.run_ids,
            )
        )
        await self._driver.feed(found)
