"""Forgets what nobody needs any more, a little at a time, while this replica leads.

It goes round: one job after the other, each read in pages and pruned in batches. After each step it rests for
a multiple of the time that the step took, so that pruning takes a small share of the database, and a slow
database gets more rest. Where whole batches are to be pruned, the rest is a tenth, and a round that pruned
much is soon followed by the next: what is deleted is what was written before, so that in the long run pruning
takes a share of what the runs themselves take, and the tables stay as large as the history of the jobs and
what has ended within a quarter of an hour. The rules are in `piko.decisions.history_policy`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Protocol

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.background.rest import Rest
from piko.catalog.configs import ConfigBook
from piko.clock import Clock
from piko.decisions.history_policy import HistoryPolicy, prunable_locks, seconds
from piko.errors import DatabaseUnavailableError, FencedError, RowsLockedError
from piko.leadership.elector import Elector, leadership
from piko.model.fences import Fence
from piko.model.retention import EndedRow, JobFacts
from piko.model.revisions import stale_revisions
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.changes import ChangeStore
from piko.store.idempotency import KEPT_FOR, IdempotencyKeys
from piko.store.isolation import REFUSALS, refusal_text
from piko.store.progress import ProgressStore
from piko.store.retention import RetentionStore

_BATCH = 500
_ROUND_S = 900.0
_SOON_S = 60.0
_MUCH = 20
"""Batches in a round after which the next one comes soon."""
_RESTS = 5.0
_IN_HASTE = 0.1
_LONGEST_REST_S = 2.0
_AGAIN_S = 5.0

log = get_logger(__name__)


class Prune(Protocol):
    """Deletes at most `limit` rows, and says how many it were."""

    async def __call__(self, *, limit: int) -> int: ...


class Retention:
    """Prunes runs and locks while `elector` leads: a round each `round_s` seconds, or soon after a large one.

    `rests`: how many times as long as a step it rests after it; a tenth of that after a step that pruned half
    a batch.
    """

    name = "retention"

    def __init__(
        self,
        *,
        store: RetentionStore,
        kept: ProgressStore,
        changes: ChangeStore,
        keys: IdempotencyKeys,
        configs: ConfigBook,
        elector: Elector,
        clock: Clock,
        metrics: Metrics,
        max_age_s: float,
        most_changes: int,
        batch: int = _BATCH,
        round_s: float = _ROUND_S,
        rests: float = _RESTS,
    ) -> None:
        self._store = store
        self._kept = kept
        self._changes = changes
        self._keys = keys
        self._configs = configs
        self._elector = elector
        self._clock = clock
        self._metrics = metrics
        self._max_age_s = max_age_s
        self._most_changes = most_changes
        self._batch = batch
        self._round_s = round_s
        self._usual_rest = Rest(times=rests, longest_s=_LONGEST_REST_S)
        self._short_rest = Rest(times=rests * _IN_HASTE, longest_s=_LONGEST_REST_S)
        self._at = ""
        self._runs = 0
        self._locks = 0
        self._pruned_much = False

    async def run(self) -> None:
        """Go round, until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,), report=self._failed, backoff=Backoff.steady(_AGAIN_S)
        )
        await repeat(self._go_round, pause_s=self._pause_s, transient=[away])

    async def _go_round(self) -> None:
        fence = await leadership(self._elector)
        try:
            await self.go_round(fence)
        except FencedError:
            self._elector.deposed(fence)

    def _pause_s(self) -> float:
        """What the end of a leadership broke off goes on as soon as the next one begins."""
        if self._elector.acting is None:
            return 0.0
        return min(_SOON_S, self._round_s) if self._pruned_much else self._round_s

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("pruning_waits", error=str(error))

    async def go_round(self, fence: Fence) -> None:
        """Look at every job once, from where the last round was left. Raises `FencedError`."""
        if not self._at:
            await self._prune_kept(fence)
            await self._prune_changes(fence)
            await self._prune_revisions(fence)
        while (job_id := await self._store.next_job(self._at)) is not None:
            if self._elector.acting != fence:
                return
            try:
                await self._look_at(job_id, fence)
            except RowsLockedError as error:  # somebody holds rows of it: the next round comes by again
                log.warning("pruning_put_off", job_id=job_id, why=str(error))
            except REFUSALS as error:  # that job's trouble: the round goes on
                log.error("pruning_refused", job_id=job_id, why=refusal_text(error))
            self._at = job_id
        self._at = ""
        if self._runs or self._locks:
            log.info("pruned", runs=self._runs, locks=self._locks)
        self._pruned_much = self._runs + self._locks >= _MUCH * self._batch
        self._runs = self._locks = 0

    async def _prune_kept(self, fence: Fence) -> None:
        """Drop how far jobs had come whose rows went too long ago, and keys of requests that are too old."""
        before = self._clock.now() - seconds(self._max_age_s)
        pruned = await self._in_batches(fence, partial(self._kept.prune, before, fence))
        if pruned:
            log.info("kept_progress_pruned", jobs=pruned)
        unused = self._clock.now() - KEPT_FOR
        await self._in_batches(fence, partial(self._keys.prune, unused, fence))

    async def _prune_changes(self, fence: Fence) -> None:
        """Drop what change_log says of changes that were made too long ago, or before a job's newest ones."""
        before = self._clock.now() - seconds(self._max_age_s)
        await self._in_batches(fence, partial(self._changes.prune, before, fence))
        job_id = await self._changes.next_job("")
        while job_id is not None and self._elector.acting == fence:
            prune = partial(self._changes.prune_job, job_id, fence, keep=self._most_changes)
            await self._in_batches(fence, prune)
            job_id = await self._changes.next_job(job_id)

    async def _in_batches(self, fence: Fence, prune: Prune) -> int:
        """Prune until nothing is left to prune; how much it was."""
        whole, pruned = 0, self._batch
        while pruned == self._batch and self._elector.acting == fence:
            began = self._clock.monotonic()
            pruned = await prune(limit=self._batch)
            whole += pruned
            await self._rest(began, pruned=pruned)
        return whole

    async def _prune_revisions(self, fence: Fence) -> None:
        """Blank the secrets of configs that are no longer in force, and drop the oldest revisions."""
        job_id = await self._store.next_configured("")
        while job_id is not None and self._elector.acting == fence:
            began = self._clock.monotonic()
            try:
                await self._prune_revisions_of(job_id, fence)
            except REFUSALS as error:  # that job's trouble: the round goes on
                log.error("pruning_refused", job_id=job_id, why=refusal_text(error))
            await self._rest(began)
            job_id = await self._store.next_configured(job_id)

    async def _prune_revisions_of(self, job_id: str, fence: Fence) -> None:
        now = self._clock.now()
        known, has_row = await self._store.revisions(job_id)
        if has_row is not self._configs.has_row(job_id):
            return  # the row was just created or deleted: the next round sees it
        max_age = seconds(self._max_age_s)
        stale = stale_revisions(known, has_row=has_row, now=now, max_age=max_age)
        if stale.blank or stale.prune:
            blanked, deleted = await self._store.drop_revisions(
                job_id, stale, fence, has_row=has_row, now=now
            )
            log.info("config_revisions_pruned", job_id=job_id, secrets_blanked=blanked, deleted=deleted)

    async def _look_at(self, job_id: str, fence: Fence) -> None:
        began, now = self._clock.monotonic(), self._clock.now()
        job = await self._store.facts(job_id)
        await self._rest(began)
        await self._prune_runs(job, fence, now)
        horizon = prunable_locks(job, now=now, max_age_s=self._max_age_s)
        if horizon is not None:
            await self._prune_locks(job, fence, horizon)

    async def _prune_runs(self, job: JobFacts, fence: Fence, now: datetime) -> None:
        policy = HistoryPolicy(job, now=now, max_age_s=self._max_age_s)
        last: EndedRow | None = None
        while True:
            began = self._clock.monotonic()
            page = await self._store.ended(job.job_id, before=last, limit=self._batch)
            doomed = [run for shown in page for run in policy.show(shown)]
            pruned = 0
            if doomed and self._elector.acting == fence:
                pruned = await self._store.prune_runs(job, doomed, fence)
                self._runs += pruned
                self._metrics.runs_pruned.inc(pruned)
            await self._rest(began, pruned=pruned)
            if len(page) < self._batch or self._elector.acting != fence:
                return
            last = page[-1]

    async def _prune_locks(self, job: JobFacts, fence: Fence, horizon: datetime) -> None:
        since: datetime | None = None
        while self._elector.acting == fence:
            began = self._clock.monotonic()
            page = await self._store.prune_locks(
                job.job_id, fence, since=since, through=horizon, limit=self._batch
            )
            self._locks += page.pruned
            self._metrics.locks_pruned.inc(page.pruned)
            await self._rest(began, pruned=page.pruned)
            if page.through is None:
                return
            since = page.through

    async def _rest(self, began: float, *, pruned: int = 0) -> None:
        rest = self._short_rest if 2 * pruned >= self._batch else self._usual_rest
        await asyncio.sleep(rest.after_s(self._clock.monotonic() - began))
