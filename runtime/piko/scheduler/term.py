"""How a term of leadership begins: what the database holds is read, and every row taken in."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Collection
from dataclasses import dataclass

from piko.decisions.events import RowsChanged, TermBegan
from piko.decisions.leader import Leader
from piko.model.fences import Fence
from piko.observability.logs import get_logger
from piko.scheduler.acts import Acts
from piko.scheduler.driver import Driver
from piko.scheduler.insistence import Insistence
from piko.scheduler.isolated_writes import IsolatedWrites
from piko.scheduler.lookout import Lookout
from piko.scheduler.parts import SchedulerParts
from piko.scheduler.queue import Queue
from piko.scheduler.row_writes import RowWrites
from piko.scheduler.run_writes import RunWrites

_TOGETHER = 250
"""Rows that are taken in together."""
_NO_LIMIT = 2**31
_LOAD_AGAIN_S = 0.05

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadershipTerm:
    """A leader at work under one fence."""

    fence: Fence
    leader: Leader
    driver: Driver
    lookout: Lookout


async def begin_term(
    fence: Fence, parts: SchedulerParts, *, answered_in: Callable[[float], None]
) -> LeadershipTerm:
    """Read what the database holds, and take in every row. Raises `FencedError`.

    `answered_in` is called with the seconds that the database took for one question.
    """
    catalog, stores = parts.catalog, parts.stores
    while not catalog.loaded:
        await catalog.wait(within_s=_LOAD_AGAIN_S)
    parts.metrics.forget_jobs()  # what this replica has seen of them as a standby is not all
    insist = Insistence(
        fence=fence, elector=parts.elector, catalog=catalog, metrics=parts.metrics, part=parts.name
    )
    states = await insist(stores.states.read_all)
    configured = parts.configs.job_ids()
    parts.configs.load(configured, await insist(lambda: stores.configs.revisions(configured)))
    term = _assemble(fence, parts, insist)
    log.info("term_begins", epoch=fence.epoch, jobs=len(catalog.assessed_rows))
    catalog.take_changed()
    in_progress = await insist(stores.runs.running)
    if parts.limits.offers:
        in_progress = [*in_progress, *await insist(stores.runs.offered)]
    queue = term.driver.queue
    asked_at = parts.clock.monotonic()
    backfills = await queue.backfills()
    answered_in(parts.clock.monotonic() - asked_at)
    began = TermBegan(
        states=states,
        in_progress=in_progress,
        queued=await queue.queued(),
        backfills=backfills,
        now=parts.clock.now(),
    )
    await term.driver.feed(began)
    rows = catalog.assessed_rows
    await take_in(term.driver, [*rows, *(job_id for job_id in states if job_id not in rows)], parts)
    gc.freeze()  # it stays for the whole term: nothing for the collector to go through each time
    return term


async def take_in(driver: Driver, job_ids: Collection[str], parts: SchedulerParts) -> None:
    """Have the leader take in the rows of `job_ids`, each once. Raises `FencedError`."""
    ordered = sorted(job_ids)  # at once, where rows were read in this order
    for start in range(0, len(ordered), _TOGETHER):
        changed = RowsChanged(job_ids=ordered[start : start + _TOGETHER], now=parts.clock.now())
        await driver.feed(changed)
        await asyncio.sleep(0)  # ten thousand rows at once must not stop the event loop


def _assemble(fence: Fence, parts: SchedulerParts, insist: Insistence) -> LeadershipTerm:
    stores, limits, clock = parts.stores, parts.limits, parts.clock
    leader = Leader(
        rows=parts.catalog.assessed_rows,
        configs=parts.configs,
        placement=parts.placement,
        new_id=parts.new_id,
        # Where any replica may run it, each keeps to the limit by itself.
        max_concurrent_runs=_NO_LIMIT if limits.offers else limits.max_concurrent_runs,
    )
    acts = Acts(
        leader=leader,
        fence=fence,
        instance_id=parts.instance_id,
        executor=parts.executor,
        upcoming=parts.upcoming,
        ledger=parts.ledger,
        catalog=parts.catalog,
        metrics=parts.metrics,
        clock=clock,
    )
    refusals = leader.agenda.refusals
    writes = IsolatedWrites(
        insist=insist, runs=stores.runs, held=parts.held, refusals=refusals, feed=acts.feed, clock=clock
    )
    rows = RowWrites(
        fence=fence,
        insist=insist,
        writes=writes,
        refusals=refusals,
        catalog=parts.catalog,
        configs=parts.configs,
        config_rows=stores.configs,
        states=stores.states,
        progress=stores.progress,
        clock=clock,
    )
    runs = RunWrites(
        fence=fence,
        instance_id=parts.instance_id,
        writes=writes,
        rows=rows,
        runs=stores.runs,
        backfills=stores.backfills,
        held=parts.held,
        upcoming=parts.upcoming,
        clock=clock,
        offers=limits.offers,
        offered=parts.offered,
        claiming=parts.claiming,
        traces=parts.traces,
    )
    queue = Queue(
        insist=insist,
        catalog=parts.catalog,
        runs=stores.runs,
        backfills=stores.backfills,
        clock=clock,
        metrics=parts.metrics,
        offers=limits.offers,
    )
    driver = Driver(fence=fence, leader=leader, acts=acts, rows=rows, runs=runs, queue=queue)
    lookout = Lookout(
        driver=driver,
        insist=insist,
        runs=stores.runs,
        orphans=parts.orphans,
        executor=parts.executor,
        upcoming=parts.upcoming,
        ledger=parts.ledger,
        clock=clock,
        heartbeat_interval_s=limits.heartbeat_interval_s,
        poll_interval_s=limits.poll_interval_s,
    )
    return LeadershipTerm(fence=fence, leader=leader, driver=driver, lookout=lookout)
