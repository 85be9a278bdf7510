"""`make soak`: replicas of one app, failures at random, and a assessed from the handlers' own evidence.

`python -m tests.soak --seconds 600 --seed 1 --replicas 3 --executor leader`
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from itertools import pairwise

from sqlalchemy.exc import DBAPIError

from tests.harness.servers import Servers
from tests.soak import sinks
from tests.soak.judge import Begun, Row
from tests.soak.stage import RULES, Stage, staged
from tests.soak.trouble import Troubles
from tests.soak.witness import Said


class Soak:
    """One soak from its start to the assessed."""

    def __init__(self, stage: Stage, *, seconds: float, seed: int) -> None:
        self._stage = stage
        self._seconds = seconds
        self._chance = random.Random(seed)
        self._troubles = Troubles(stage, self._chance)
        self._outages = sinks.Outages(stage.folder)
        self._happened: Counter[str] = Counter()

    async def run(self) -> list[str]:
        """The violations."""
        first = [replica.memory_mb() for replica in self._stage.replicas]
        await self._break_things()
        await self._outages.over()
        await self._stage.heal()
        last = [replica.memory_mb() for replica in self._stage.replicas]
        self._print(await self._stage.rows(), self._stage.begun(), first, last)
        self._print_readiness(self._stage.witness.said)
        ports = [replica.answers_at for replica in self._stage.replicas]
        of_sinks = await sinks.assessed(self._stage.folder, ports=ports)
        return [*await self._stage.assessed(), *self._troubles.assessed(), *of_sinks]

    # ---- failures ---------------------------------------------------------------------------------

    async def _break_things(self) -> None:
        failures: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self.kill_a_replica),
            (3, self.stop_a_replica),
            (3, self.freeze_a_replica),
            (1, self.kill_all_replicas),
            (2, self.kill_the_database),
            (2, self.freeze_the_database),
            (3, self.cut_a_way),
            (3, self.swallow_answers),
            (2, self.swallow_questions),
            (2, self.slow_a_way),
            (3, self.cut_a_commit),
            (2, self.kill_connections),
            (1, self.block_a_loop),
            (2, self.edit_rows),
            (1, self.set_a_watermark_back),
            (3, self._troubles.hold_an_edit),
            (3, self._troubles.delay_commits),
            (2, self._troubles.take_the_database_away_for_long),
            (4, self.take_the_sinks_away),
        ]
        weights = [weight for weight, _ in failures]
        began = time.monotonic()
        while (passed := time.monotonic() - began) < self._seconds:
            await asyncio.sleep(self._chance.uniform(1, 8))
            (_, failure), *_ = self._chance.choices(failures, weights)
            name = failure.__name__
            self._happened[name] += 1
            print(f"{passed:7.1f} s  {name.replace('_', ' ')}", flush=True)
            await failure()

    async def take_the_sinks_away(self) -> None:
        """Beside what else happens: it is kills during an outage that count."""
        self._outages.begin(self._chance.choice((2.0, 10.0, 40.0)))

    async def kill_a_replica(self) -> None:
        replica = self._chance.choice(self._stage.replicas)
        replica.thaw()
        replica.process.kill()
        await asyncio.sleep(self._chance.uniform(0, 5))
        replica.start()

    async def kill_all_replicas(self) -> None:
        for replica in self._stage.replicas:
            replica.process.kill()
        await asyncio.sleep(self._chance.uniform(0, 3))
        for replica in self._stage.replicas:
            replica.start()

    async def stop_a_replica(self) -> None:
        replica = self._chance.choice(self._stage.replicas)
        if replica.process.running:
            await asyncio.to_thread(replica.process.terminate)
        await asyncio.sleep(self._chance.uniform(0, 3))
        replica.start()

    async def freeze_a_replica(self) -> None:
        replica = self._chance.choice(self._stage.replicas)
        replica.freeze()
        await asyncio.sleep(self._chance.choice((1.0, 5.0, 9.0)))
        replica.thaw()

    async def kill_the_database(self) -> None:
        self._stage.server.kill()
        await asyncio.sleep(self._chance.uniform(0, 6))
        await asyncio.to_thread(self._stage.server.start)

    async def freeze_the_database(self) -> None:
        self._stage.server.pause()
        await asyncio.sleep(self._chance.uniform(1, 8))
        self._stage.server.resume()

    async def cut_a_way(self) -> None:
        way = self._chance.choice(self._stage.replicas).way
        way.close()
        await asyncio.sleep(self._chance.uniform(1, 9))
        way.open()

    async def swallow_answers(self) -> None:
        way = self._chance.choice(self._stage.replicas).way
        way.swallow(answers=True)
        await asyncio.sleep(self._chance.uniform(1, 9))
        way.close()  # what was swallowed does not come back: the connections end
        way.open()

    async def swallow_questions(self) -> None:
        way = self._chance.choice(self._stage.replicas).way
        way.swallow(questions=True)
        await asyncio.sleep(self._chance.uniform(1, 9))
        way.close()
        way.open()

    async def slow_a_way(self) -> None:
        way = self._chance.choice(self._stage.replicas).way
        way.delay_s = 0.5
        await asyncio.sleep(self._chance.uniform(2, 10))
        way.delay_s = 0.0

    async def cut_a_commit(self) -> None:
        for replica in self._stage.replicas:
            replica.way.cut_next_commit()

    async def kill_connections(self) -> None:
        rows = await self._stage.database.execute(
            "SELECT id FROM information_schema.processlist WHERE user = 'piko'"
        )
        own = (await self._stage.database.execute("SELECT CONNECTION_ID()"))[0][0]
        for (number,) in rows:
            if number != own:
                try:
                    await self._stage.database.execute(f"KILL {number}")
                except DBAPIError as error:  # it has ended by itself
                    print("          ", type(error).__name__)

    async def block_a_loop(self) -> None:
        self._stage.block_an_event_loop(self._chance.choice((2.0, 6.0, 12.0)))

    async def edit_rows(self) -> None:
        job_id = self._chance.choice(list(RULES))
        await self._stage.database.execute(
            f"UPDATE scheduled_job SET version = version + 1, priority = {self._chance.randrange(5)} "
            f"WHERE job_id = '{job_id}'"
        )

    async def set_a_watermark_back(self) -> None:
        ((watermark,),) = await self._stage.database.execute(
            "SELECT last_data_time FROM scheduled_job WHERE job_id = 'windows'"
        )
        if watermark is not None:
            moment = watermark - timedelta(seconds=self._chance.randrange(2, 10))
            self._stage.set_back.append(("windows", moment))
            await self._stage.database.execute(
                f"UPDATE scheduled_job SET last_data_time = '{moment}' WHERE job_id = 'windows'"
            )

    def _print(self, rows: list[Row], begun: list[Begun], first: list[float], last: list[float]) -> None:
        states = Counter(row.state for row in rows)
        starts = sorted(note.at for note in begun)
        ticks = [note for note in begun if note.job_id.startswith("tick") and note.attempt == 1]
        delays = sorted(note.at - note.scheduled.replace(tzinfo=UTC).timestamp() for note in ticks)
        print("failures:", ", ".join(f"{name} {count}" for name, count in sorted(self._happened.items())))
        print("rows:", ", ".join(f"{state} {count}" for state, count in sorted(states.items())))
        print("retries that began:", sum(note.attempt > 1 for note in begun))
        print("processes that began runs:", len({note.pid for note in begun}))
        gaps = sorted((after - before for before, after in pairwise(starts)), reverse=True)
        print("longest times without a start:", ", ".join(f"{gap:.1f}" for gap in gaps[:5]), "s")
        marks = [delays[int(len(delays) * part)] for part in (0.5, 0.9, 0.99)]
        print(
            f"start delay of {len(delays)} ticks: median {marks[0]:.3f} s, p90 {marks[1]:.3f} s, "
            f"p99 {marks[2]:.2f} s, most {delays[-1]:.2f} s, mean {statistics.mean(delays):.3f} s"
        )
        sizes = (" ".join(f"{size:.0f}" for size in each) for each in (first, last))
        print("memory of the replicas at the beginning and the end, MB:", " / ".join(sizes))

    def _print_readiness(self, said: list[Said]) -> None:
        words = Counter((each.replica, _word(each)) for each in said)
        asked = Counter(each.replica for each in said)
        for replica in sorted(asked):
            shares = ", ".join(
                f"{word} {100 * words[replica, word] / asked[replica]:.0f} %"
                for word in ("leader", "standby", "not ready", "no answer")
            )
            print(f"{replica} said {asked[replica]} times: {shares}")


def _word(said: Said) -> str:
    """What an answer comes to."""
    return {0: "no answer", 200: said.text}.get(said.status, "not ready")


async def soak(*, seconds: float, seed: int, replicas: int, executor: str) -> int:
    """0 where nothing was violated."""
    servers = Servers()
    try:
        async with staged(
            reaper=servers.reaper,
            replicas=replicas,
            executor=executor,
            environment=lambda _: sinks.ENVIRONMENT,
        ) as stage:
            found = await Soak(stage, seconds=seconds, seed=seed).run()
    finally:
        servers.close()
    for text in found[:50]:
        print("VIOLATION", text)
    outcome = f"{len(found)} violations" if found else "nothing was violated"
    print(f"{outcome} (seed {seed})", flush=True)
    if found:
        print(f"evidence and logs: {stage.folder}")
        return 1
    shutil.rmtree(stage.folder)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--executor", choices=["leader", "replicas"], default="leader")
    options = parser.parse_args()
    print("soak:", " ".join(f"--{name} {value}" for name, value in vars(options).items()), flush=True)
    return asyncio.run(soak(**vars(options)))


if __name__ == "__main__":
    sys.exit(main())
