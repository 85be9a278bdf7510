"""A change of leader: how long nothing starts, and how late what was due meanwhile.

    python -m benchmarks.failover                       # kill -9 and SIGTERM, five times each, at defaults
    python -m benchmarks.failover --lease 5 --renew 1   # where a short lease matters, too

Two replicas, 100 jobs of one second whose due times are spread over it in tenths, on a MariaDB that flushes
each COMMIT. The leader ends in the middle; what counts is when handlers say that they started.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.harness.database_servers import DatabaseServer
from tests.harness.reaper import Reaper
from tests.harness.waiting import wait_until_async

from benchmarks.database import durable_mariadb
from benchmarks.load import insert, percentiles
from benchmarks.replica import Start, running, starts

_JOBS = 100
_BEFORE_S = 5.0
_AFTER_S = 5.0
_PATIENCE_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """One end of a leader. `gap_s`: the longest time without a start after it."""

    gap_s: float
    delays_ms: dict[str, float]
    """Of what was due from five seconds before the end to five after the next leader's first start."""
    due: int
    started: int
    twice: int
    """Due times that more than one handler was called for."""


async def failover(
    server: DatabaseServer, reaper: Reaper, *, kill: bool, settings: dict[str, str]
) -> Failover:
    """Let one leader end and another go on."""
    database = await server.create_database()
    await insert(database.dsn, _JOBS, spread=True, each=True)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.touch()
        replicas = {}
        for name in ("one", "two"):
            replica = running(
                database.dsn, notes, name=name, jobs=_JOBS, takes_s=0.02, reaper=reaper, settings=settings
            )
            process = stack.enter_context(replica)
            replicas[process.pid] = process

        async def both_live() -> bool:
            rows = await database.execute("SELECT COUNT(*) FROM runtime_instance")
            return int(rows[0][0]) == len(replicas) and len(starts(notes)) > _JOBS

        await wait_until_async(both_live, timeout=_PATIENCE_S, what="a leader and a standby", interval=0.2)
        await asyncio.sleep(_BEFORE_S)
        leader = replicas[starts(notes)[-1].pid]
        ended_at = time.time()
        if kill:
            leader.kill()
        else:
            await asyncio.to_thread(leader.terminate)

        def of_the_next() -> list[Start]:
            return [start for start in starts(notes) if start.pid != leader.pid]

        first, *_ = await wait_until_async(
            of_the_next, timeout=_PATIENCE_S, what="another leader", interval=0.2
        )
        await asyncio.sleep(_AFTER_S + 1)
        found = starts(notes)
    span = (ended_at - _BEFORE_S, first.at + _AFTER_S)
    within = [start for start in found if span[0] <= start.due < span[1]]
    calls = Counter((start.job_id, start.due) for start in within)
    return Failover(
        gap_s=max(after.at - before.at for before, after in pairwise(found) if after.at > ended_at),
        delays_ms=percentiles([start.delay_ms for start in within]),
        due=round((span[1] - span[0]) * _JOBS),
        started=len(calls),
        twice=sum(calls.values()) - len(calls),
    )


async def report(*, lease_s: float, renew_s: float, repeats: int) -> None:
    settings = {"leader_lease_s": str(lease_s), "leader_renew_interval_s": str(renew_s)}
    reaper = Reaper()
    try:
        async with durable_mariadb() as server:
            for how in ("kill -9", "SIGTERM"):
                found = [
                    await failover(server, reaper, kill=how == "kill -9", settings=settings)
                    for _ in range(repeats)
                ]
                print(_line(how, lease_s, found), flush=True)
    finally:
        reaper.close()


def _line(how: str, lease_s: float, found: list[Failover]) -> str:
    gaps = sorted(item.gap_s for item in found)
    delays = [
        f"{name} {statistics.median(item.delays_ms[name] for item in found):,.0f}"
        for name in found[0].delays_ms
    ]
    return (
        f"{how:8s} lease {lease_s:g} s  nothing started for: median {statistics.median(gaps):.2f} s, "
        f"most {gaps[-1]:.2f} s  start delay across it in ms: {'  '.join(delays)}  "
        f"started {sum(item.started for item in found):,} of about {sum(item.due for item in found):,}, "
        f"twice {sum(item.twice for item in found)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lease", type=float, default=30)
    parser.add_argument("--renew", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(report(lease_s=options.lease, renew_s=options.renew, repeats=options.repeats))


if __name__ == "__main__":
    main()
