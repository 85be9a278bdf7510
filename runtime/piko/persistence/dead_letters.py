"""The dead letters of this process's spool: counted, listed, replayed and dropped while the writer runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from piko.model.dead_letters import ListedLetter
from piko.observability.redaction import hide
from piko.persistence.letter import SecretsOf
from piko.persistence.sink_worker import SinkWorker
from piko.spool.intents import DeadLetter
from piko.spool.spool import Spool
from piko.text import excerpt

_NAME, _ID, _JOB, _ERROR = 255, 64, 128, 2000
"""Bytes of what is listed."""


class DeadLetters:
    """Asks the spool. Methods that read or change it raise `SpoolError`."""

    def __init__(
        self,
        *,
        spool: Callable[[], Spool | None],
        workers: Mapping[str, SinkWorker],
        secrets_of: SecretsOf,
    ) -> None:
        """They are empty while no spool is open.

        - `spool`: the one that is open, if any.
        - `workers`: those of the sinks that are registered.
        - `secrets_of`: what is hidden in keys, by the jobs of the records.
        """
        self._spool = spool
        self._secrets_of = secrets_of
        self._workers = workers

    @property
    def changes(self) -> int | None:
        """A number that grows whenever they change; None while no spool is open, so that there are none."""
        spool = self._spool()
        return None if spool is None else spool.changes

    @property
    def former(self) -> Sequence[str]:
        """Instances whose files this process took over."""
        spool = self._spool()
        return () if spool is None else spool.former

    async def counts(self) -> dict[str, tuple[int, datetime]]:
        """By sink: how many there are, and when the first was refused."""
        spool = self._spool()
        found = {} if spool is None else await spool.dead_counts()
        return {sink: (count, _moment(first)) for sink, (count, first) in found.items()}

    async def newest(self, limit: int) -> list[ListedLetter]:
        """The newest, as the database lists them."""
        spool = self._spool()
        return [] if spool is None else [self._listed(item) for item in await spool.dead_letters(limit)]

    async def replay(self, letter_ids: Sequence[str]) -> dict[str, str]:
        """Have sinks write them again; by id, the sink of each that stays because nothing registers it."""
        spool = self._spool()
        sinks = {} if spool is None else await spool.sinks_of(letter_ids)
        by_sink: dict[str, list[str]] = {}
        for letter_id, sink in sinks.items():
            by_sink.setdefault(sink, []).append(letter_id)
        for sink, ids in by_sink.items():
            if sink in self._workers:
                await self._workers[sink].replay(ids)
        return {item: sink for item, sink in sinks.items() if sink not in self._workers}

    async def drop(self, letter_ids: Sequence[str]) -> None:
        """Delete them."""
        spool = self._spool()
        if spool is not None:
            await spool.drop(letter_ids)

    def _listed(self, letter: DeadLetter) -> ListedLetter:
        """`letter` without its payload, in what the columns hold; its job has given it its names."""
        key, job_id, run_id = letter.names
        return ListedLetter(
            letter_id=letter.letter_id,
            sink=excerpt(letter.sink, limit=_NAME),
            job_id=_ascii(job_id, _JOB),
            run_id=_ascii(run_id, _ID),
            key=excerpt(hide(str(key), self._secrets_of({str(job_id)})), limit=_NAME),
            error=excerpt(letter.error, limit=_ERROR),
            died_at=_moment(letter.died_at),
        )


def _ascii(name: object, limit: int) -> str:
    return str(name).encode("ascii", "backslashreplace")[:limit].decode()


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:  # the file was edited by hand
        return datetime.fromtimestamp(0, UTC)
