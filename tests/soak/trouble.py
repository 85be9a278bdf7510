"""Troubles between replicas and their database, each with a judge of its own.

Somebody holds an edit open in a transaction: that job waits, and no other. A COMMIT comes long after its
connection has ended: what it began is run or given up, which the judge of all runs sees. The database is away
for longer than the lease: nobody is deposed, and nothing is lost on that account.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.soak.judge import Begun
from tests.soak.stage import ENVIRONMENT, RULES, Stage
from tests.soak.witness import Said

_EDITS = (
    "UPDATE scheduled_job SET priority = priority + 1 WHERE job_id = '{job_id}'",
    "UPDATE job_state SET message = 'mine' WHERE job_id = '{job_id}'",
    "UPDATE job_run SET priority = 1 WHERE run_id = "
    "(SELECT last_run_id FROM job_state WHERE job_id = '{job_id}')",
)
QUIET_S = 6.0
"""Each second several jobs are due: while one is held, another begins within so long."""
_AFTERMATH_S = 30.0
_LEASE_S = float(ENVIRONMENT["PIKO_LEADER_LEASE_S"])


@dataclass(frozen=True, slots=True)
class Holding:
    """When somebody held rows of which job, seconds since 1970."""

    job_id: str
    since: float
    until: float


class Troubles:
    """What can be done to a stage, and what it showed."""

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        self._stage = stage
        self._chance = chance
        self._holdings: list[Holding] = []
        self._found: list[str] = []

    async def hold_an_edit(self) -> None:
        job_id = self._chance.choice(list(RULES))
        edit = self._chance.choice(_EDITS).format(job_id=job_id)
        person = create_async_engine(self._stage.database.dsn, poolclass=NullPool)
        try:
            async with person.connect() as connection:
                await connection.execute(text(edit))
                since = time.time()
                await asyncio.sleep(self._chance.uniform(8, 12))
                self._holdings.append(Holding(job_id, since, time.time()))
                await connection.rollback()
        except DBAPIError as error:  # the row is held by others, or the server has ended the connection
            print("          ", type(error.orig).__name__)
        finally:
            await person.dispose()

    async def delay_commits(self) -> None:
        """One of each kind: a claim or a take, a start, the end of a run, whatever comes next."""
        for of in ("INSERT INTO job_lock", "UPDATE job_run SET state=", "duration_s", ""):
            for replica in self._stage.replicas:
                replica.way.delay_next_commit(self._chance.choice((2.0, 5.0)), of=of)
            await asyncio.sleep(self._chance.uniform(1, 3))

    async def take_the_database_away_for_long(self) -> None:
        if not await self._all_is_well():
            print("            (not now: something else is still going on)")
            return
        lost, epoch = await self._lost(), await self._epoch()
        self._stage.server.kill()
        await asyncio.sleep(_LEASE_S * self._chance.uniform(2, 3))
        await asyncio.to_thread(self._stage.server.start)
        if not await self._all_is_well():
            self._found.append("the database was away and came back, and not all replicas are ready")
        if (now := await self._epoch()) != epoch:
            self._found.append(f"the database was away, and leadership went from epoch {epoch} to {now}")
        if more := await self._lost() - lost:
            self._found.append(f"the database was away, and these runs are LOST: {sorted(more)}")

    def assessed(self) -> list[str]:
        """What was not as promised."""
        witness = self._stage.witness.said
        return [*self._found, *waited_for_another(self._holdings, self._stage.begun(), witness)]

    async def _all_is_well(self) -> bool:
        """Whether every replica has been ready for some seconds, at last."""
        names = {replica.name for replica in self._stage.replicas}
        give_up = time.monotonic() + _AFTERMATH_S
        while time.monotonic() < give_up:
            await asyncio.sleep(0.5)
            recent = [said for said in self._stage.witness.said if said.asked_at > time.time() - 5]
            if {said.replica for said in recent if said.status == 200} == names and all(
                said.status == 200 for said in recent
            ):
                return True
        return False

    async def _lost(self) -> set[str]:
        rows = await self._stage.database.execute("SELECT run_id FROM job_run WHERE state = 'LOST'")
        return {run_id for (run_id,) in rows}

    async def _epoch(self) -> int:
        ((epoch,),) = await self._stage.database.execute("SELECT epoch FROM leader_lease")
        return int(epoch)


def waited_for_another(
    holdings: Iterable[Holding], begun: Sequence[Begun], said: Sequence[Said]
) -> Iterator[str]:
    """Others that began nothing while rows of one job were held, though one replica led all the while."""
    for holding in holdings:
        asked = [each for each in said if holding.since - 1 < each.asked_at < holding.until]
        leaders = {each.replica for each in asked if each.leads}
        if len(leaders) != 1 or any(not each.leads for each in asked if each.replica in leaders):
            continue
        others = sorted(
            note.at
            for note in begun
            if note.job_id != holding.job_id and holding.since < note.at < holding.until
        )
        moments = [holding.since, *others, holding.until]
        longest = max(later - earlier for earlier, later in pairwise(moments))
        if longest > QUIET_S:
            yield (
                f"rows of {holding.job_id} were held from {holding.since:.1f} to {holding.until:.1f}, and no "
                f"other job began anything for {longest:.1f} s"
            )
