"""Runs that the leader makes available are fetched and executed by this replica: `executor = "replicas"`.

Every replica fetches its share of the waiting runs, as far as it has free slots, and looks again a moment
later. So the work spreads while all replicas have free slots, and no run waits for a replica that is full or
has stopped. A fetched run belongs to its replica regardless of who leads: the replica records the outcome
itself, and its heartbeat shows that the run is in progress.

A COMMIT that was cut off may still succeed, much later. So the replica looks repeatedly for runs that the
database assigns to it and that it does not know, and starts them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.background.rest import Rest
from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigInForce, config_of
from piko.catalog.jobs import Job
from piko.clock import Clock
from piko.core.types import TriggerType
from piko.decisions.ends import NO_ROW, missed, without_row
from piko.decisions.lateness import too_late
from piko.errors import ConfigError, DatabaseUnavailableError
from piko.execution.executor import Executor
from piko.execution.ledger import Ledger
from piko.execution.replica_slots import ReplicaSlots
from piko.model.configs import ConfigRevision
from piko.model.fences import InstanceFence
from piko.model.instances import Instance
from piko.model.runs import Run
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.configs import ConfigStore
from piko.store.instances import HEARTBEATS, InstanceStore
from piko.store.isolation import REFUSALS, write_isolated
from piko.store.runs import RunStore

_LOOK_S = 0.1
_QUICK = Rest(times=1.0, least_s=0.02, longest_s=_LOOK_S)
_BEHIND_S = 0.5
"""The same of a leader that is behind with its claims: others come first."""
_CHAIN_FOR_S = 2.0
_AGAIN_S = 0.5
_OWN_EVERY_S = 1.0
_STRANGE_FOR_S = 5.0
_BATCH = 500
_FETCHING = "fetching an available run"

log = get_logger(__name__)


class Fetcher:
    """Fetches available runs while there are free slots."""

    name = "fetcher"

    def __init__(
        self,
        *,
        runs: RunStore,
        config_rows: ConfigStore,
        catalog: Catalog,
        executor: Executor,
        ledger: Ledger,
        slots: ReplicaSlots,
        instance: Instance,
        clock: Clock,
        metrics: Metrics,
        claiming: Callable[[], set[str]],
        instances: InstanceStore,
        heartbeat_interval_s: float,
        lease_name: str,
    ) -> None:
        self._runs = runs
        self._config_rows = config_rows
        self._catalog = catalog
        self._executor = executor
        self._ledger = ledger
        self._slots = slots
        self._instance = instance
        self._clock = clock
        self._metrics = metrics
        self._claiming = claiming
        self._instances = instances
        self._heartbeat_interval_s = heartbeat_interval_s
        self._lease_name = lease_name
        self._fetching = asyncio.Lock()
        self._looked_at = float("-inf")
        self._took_s = 0.0
        self._seen: set[str] = set()
        """Runs that the database assigns to this replica, and that were unknown at the last look."""
        self._fetched: list[Run] = []
        """Fetched, and not started yet."""
        self._revisions: dict[tuple[str, int], ConfigRevision] = {}
        self._strange: set[str] = set()
        """Jobs of available runs that this replica does not know or whose rows the database refuses."""
        self._strange_since = 0.0
        self._counted_at = float("-inf")
        self._chain_until = float("-inf")
        self._more = False
        """Whether more waited for this replica at the last look than is fetched at once."""

    async def run(self) -> None:
        """Fetch and start runs until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,), report=self._failed, backoff=Backoff.steady(_AGAIN_S)
        )
        await repeat(self._look, pause_s=self._pause_s, wake=self._slots.wanted, transient=[away])

    async def _look(self) -> None:
        began = self._clock.monotonic()
        async with self._fetching:
            await self._fetch()
        self._took_s = self._clock.monotonic() - began

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("nothing_fetched", error=str(error))

    def _pause_s(self) -> float:
        """Seconds until the next look.

        Fewer where more waits than was taken, and during a catch-up: each window is followed by the next.
        """
        if self._clock.monotonic() < self._chain_until:
            return _QUICK.after_s(self._took_s)
        if self._slots.behind and self._slots.replicas > 1:
            return _BEHIND_S
        return _QUICK.after_s(self._took_s) if self._more else _LOOK_S

    async def stop_fetching(self) -> None:
        """Return when the runs being fetched have started; no further run is fetched."""
        await self._fetching.acquire()

    async def _fetch(self) -> None:
        """Fetch and start this replica's share."""
        moment = self._clock.monotonic()
        if moment - self._looked_at >= _OWN_EVERY_S:
            await self._adopt_own_runs()
            self._looked_at = moment
        if not self._fetched:
            await self._fetch_available()
        if self._fetched:
            await self._read_configs()
            if any(run.trigger_type is TriggerType.CATCH_UP for run in self._fetched):
                self._chain_until = self._clock.monotonic() + _CHAIN_FOR_S
            for run in self._fetched:
                self._start(run)
            self._fetched = []
            self._slots.fetching = 0

    async def _fetch_available(self) -> None:
        slots, free = self._slots, self._slots.free
        self._more, slots.short = False, free == 0
        if free == 0 or not self._catalog.loaded:
            return
        await self._count_replicas()
        waiting = await self._runs.count_offered()
        if waiting == 0:
            return
        share = slots.share_of(waiting)
        limit = min(free, share, _BATCH)
        if limit == 0:
            return
        moment = self._clock.monotonic()
        if moment - self._strange_since >= _STRANGE_FOR_S:
            self._strange.clear()
            self._strange_since = moment
        slots.fetching = limit
        try:
            await self._fetch_some(limit, leaving=self._strange)
        except REFUSALS:
            await self._fetch_isolated(limit)
        finally:
            slots.fetching = len(self._fetched)
        if len(self._fetched) == limit:  # else nothing waits any more that it may take
            self._more, slots.short = limit < min(free, share), share > free

    async def _count_replicas(self) -> None:
        """Also where nothing waits: by it a leader knows how many share what it claims."""
        moment = self._clock.monotonic()
        if moment - self._counted_at >= self._heartbeat_interval_s:
            living = await self._instances.living(within_s=HEARTBEATS * self._heartbeat_interval_s)
            self._slots.replicas, self._counted_at = max(len(living), 1), moment

    async def _fetch_some(self, limit: int, *, leaving: Collection[str]) -> None:
        """Fetch up to `limit` runs, none of the jobs in `leaving`."""
        fetched, left = await self._runs.fetch(
            self._instance.instance_id,
            lease=self._lease_name,
            limit=limit,
            now=self._clock.now(),
            knows=lambda job_id: self._catalog.assessed_rows.job(job_id) is not None,
            leaving=leaving,
        )
        self._fetched += fetched
        self._strange |= {run.job_id for run in left}

    async def _fetch_isolated(self, limit: int) -> None:
        """Fetch job by job after the database refused a batch; runs of refused jobs are left for a while."""
        offered = {run.job_id for run in await self._runs.offered()} - self._strange

        async def take(jobs: Collection[str] | None) -> None:
            free_slots = limit - len(self._fetched)
            if free_slots > 0:
                await self._fetch_some(
                    free_slots, leaving=self._strange | (offered - set(offered if jobs is None else jobs))
                )

        written = await write_isolated(take, jobs=lambda: offered)
        for job_id, why in written.refused.items():
            self._metrics.rows_refused.labels(_FETCHING).inc()
            log.error("database_refuses", job_id=job_id, what=_FETCHING, why=why)
        self._strange |= written.left_out

    async def _adopt_own_runs(self) -> None:
        """Find runs that an earlier fetch has committed without receiving the answer.

        A run counts if it is seen twice: one that the leader in this process claimed may have begun and ended
        between the two reads. No other fetch is in progress now.
        """
        known = self._known()
        ours = await self._runs.running_on(self._instance.instance_id)
        known |= self._known()  # a run that has ended in the meantime is known too
        strangers = ours - known
        again = strangers & self._seen
        self._seen = strangers - again
        for run in await self._runs.begun_by(self._instance.instance_id) if again else ():
            if run.run_id in again:
                log.warning("run_found", job_id=run.job_id, run_id=run.run_id, why="its COMMIT came late")
                self._fetched.append(run)

    def _known(self) -> set[str]:
        waiting = {run.run_id for run in self._fetched}
        return self._executor.run_ids | self._ledger.run_ids | waiting | self._claiming()

    async def _read_configs(self) -> None:
        """Read the config revisions of the runs; the leader writes them before it makes runs available."""
        lacking = {
            run.job_id
            for run in self._fetched
            if run.config_revision is not None and (run.job_id, run.config_revision) not in self._revisions
        }
        if lacking:
            for revision in await self._config_rows.revisions(lacking):
                self._revisions[revision.job_id, revision.revision] = revision

    def _start(self, run: Run) -> None:
        job = self._catalog.assessed_rows.job(run.job_id)
        fence = InstanceFence(instance_id=self._instance.instance_id, epoch=run.epoch or 0)
        if job is None:
            log.warning("run_without_row", job_id=run.job_id, run_id=run.run_id, why=NO_ROW)
            self._ledger.put(without_row(run, self._clock.now()), fence)
            return
        if (why := too_late(run, job, self._clock.now())) is not None:
            self._metrics.job_missed.inc(run.job_id, "misfire")
            log.warning("run_missed", job_id=run.job_id, run_id=run.run_id, why=why)
            self._ledger.put(missed(run, self._clock.now(), why=why), fence)
            return
        self._executor.start(run, job, fence, config=partial(self._config, run, job))

    def _config(self, run: Run, job: Job) -> ConfigInForce:
        if run.config_revision is None:
            return config_of(job.definition, None, overrides=run.config_overrides)
        revision = self._revisions.get((run.job_id, run.config_revision))
        if revision is None:
            raise ConfigError(
                f"job {run.job_id!r}: revision {run.config_revision} of its config is required, but is not "
                "in "
                "job_config_revision: was it deleted?"
            )
        return config_of(job.definition, revision, overrides=run.config_overrides)
