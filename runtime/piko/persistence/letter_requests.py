"""This replica's dead letters in the database, and what people ask to be done with them.

The records stay on the disk of the replica, whose spool nobody else may open while it runs. So it lists the
newest in the table `dead_letter`, without their payload, looks at each poll what is asked for them there, and
does it while its sinks work on: a letter that is replayed joins the end of its sink's queue.

A letter keeps its id when a later process takes the file over, so what was asked meanwhile is done by that
process. Each round can be cut off anywhere. What was done but not struck off the list is not in the spool any
more, so the next round strikes it off; a letter that its sink refuses again is a new one.

While there is nothing to list and nothing is listed, no statement is sent.
"""

from __future__ import annotations

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError, SpoolError
from piko.model.dead_letters import LetterVerb
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.persistence.dead_letters import DeadLetters
from piko.store.dead_letters import DeadLetterStore

MOST = 500
"""Letters of one replica in the table: the newest. Its row counts all of them."""
_MANY = 50
_AFTER_MANY_S = 5.0

log = get_logger(__name__)


class LetterRequests:
    """Lists the dead letters of `instance_id`, and does what is asked for them."""

    name = "dead letters"

    def __init__(
        self,
        *,
        letters: DeadLetters,
        store: DeadLetterStore,
        instance_id: str,
        clock: Clock,
        metrics: Metrics,
        poll_interval_s: float,
    ) -> None:
        """`poll_interval_s`: how soon what is asked is seen, and new letters are listed."""
        self._letters = letters
        self._store = store
        self._instance_id = instance_id
        self._clock = clock
        self._metrics = metrics
        self._poll_interval_s = poll_interval_s
        self._listed: set[str] | None = None
        """What the table has of this replica; None until it was read."""
        self._seen: int | None = None
        self._list_at = float("-inf")

    async def run(self) -> None:
        """Look at each poll, until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError, SpoolError),
            report=self._failed,
            backoff=Backoff.steady(max(self._poll_interval_s, 1.0)),
        )
        await repeat(self.look, pause_s=self._poll_interval_s, transient=[away])

    async def look(self) -> None:
        """Do what is asked, then list what is new. Raises `DatabaseUnavailableError` and `SpoolError`."""
        if self._letters.changes is None:
            return
        if self._listed is None:
            self._listed = await self._store.listed([self._instance_id, *self._letters.former])
        if self._listed:
            await self._do_what_is_asked(self._listed)
        if self._letters.changes != self._seen and self._clock.monotonic() >= self._list_at:
            await self._list(self._listed)

    async def _do_what_is_asked(self, listed: set[str]) -> None:
        former = self._letters.former if self._seen is None else ()
        asked = await self._store.asked([self._instance_id, *former])
        if not asked:
            return
        replayed = [item for item, verb in asked.items() if verb is LetterVerb.REPLAY]
        dropped = [item for item, verb in asked.items() if verb is LetterVerb.DROP]
        without_sink = await self._letters.replay(replayed)
        await self._letters.drop(dropped)
        for sink in set(without_sink.values()):
            ids = [item for item, of in without_sink.items() if of == sink]
            answer = (
                f"not replayed: this application registers no sink {sink!r}; deploy code that does and ask "
                "again, or drop it"
            )
            await self._store.refuse(ids, answer=answer)
            log.error("dead_letters_not_replayed", sink=sink, letters=len(ids), remedy=answer)
        done = asked.keys() - without_sink.keys()
        await self._store.remove(done)
        listed -= done
        log.info("dead_letters_done", replayed=len(replayed) - len(without_sink), dropped=len(dropped))

    async def _list(self, listed: set[str]) -> None:
        """Have the table hold the newest of them; in a storm of refusals, only every few seconds."""
        seen = self._letters.changes
        newest = await self._letters.newest(MOST)
        first = self._seen is None  # then some may be listed as those of the process before
        new = [item for item in newest if first or item.letter_id not in listed]
        await self._store.put(self._instance_id, new)
        listed |= {item.letter_id for item in new}
        stale = listed - {item.letter_id for item in newest}
        await self._store.remove(stale, unasked_only=True)
        listed -= stale
        self._seen = seen
        if len(new) > _MANY:
            self._list_at = self._clock.monotonic() + _AFTER_MANY_S

    def _failed(self, error: Exception) -> None:
        if isinstance(error, DatabaseUnavailableError):
            self._metrics.db_errors.labels(self.name).inc()
        log.warning("dead_letters_listed_later", error=str(error))
