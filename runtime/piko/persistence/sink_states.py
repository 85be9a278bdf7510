"""The state of each sink of this process, for its row in the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from piko.model.sinks import SinkState
from piko.persistence.dead_letters import DeadLetters
from piko.persistence.sink_worker import SinkWorker
from piko.spool.spool import Spool

_NO_CODE = "nothing in this application registers it; deploy code that does, and what waits is delivered"


async def sink_states(
    workers: Mapping[str, SinkWorker],
    *,
    spool: Spool | None,
    dead_letters: DeadLetters,
    unregistered: Mapping[str, int],
) -> list[SinkState]:
    """How each sink is now. Raises `SpoolError`.

    - `workers`: of the sinks that are registered.
    - `spool`: the one that is open, if any.
    - `dead_letters`: what sinks have refused.
    - `unregistered`: how many intents of earlier processes wait for a sink that no code registers now.
    """
    dead = await dead_letters.counts()
    waiting = {name: len(worker) for name, worker in workers.items()}
    held = [name for name, count in {**waiting, **unregistered}.items() if count]
    oldest = {} if spool is None or not held else await spool.oldest(held)
    states = []
    for name in sorted({*workers, *dead, *unregistered}):
        worker, since = workers.get(name), oldest.get(name)
        error = None if worker is None else worker.failing
        if worker is None and name in unregistered:
            error = _NO_CODE
        count, first = dead.get(name, (0, None))
        states.append(
            SinkState(
                sink=name,
                durability="unregistered" if worker is None else worker.sink.durability,
                waiting=waiting.get(name, unregistered.get(name, 0)),
                oldest_at=None if since is None else datetime.fromtimestamp(since, UTC),
                error=error,
                failing_since=None if worker is None else worker.failing_since,
                dead_letters=count,
                first_died_at=first,
            )
        )
    return states
