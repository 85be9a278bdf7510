"""An intent on its way to its sink, and how a log names several of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from piko.observability.redaction import hide
from piko.persistence.codec import weight
from piko.persistence.intent import WriteIntent
from piko.text import excerpt, listed

_NAME = 200

SecretsOf = Callable[[Collection[str]], Collection[str]]
"""Called with jobs: what no text about their records may show."""


@dataclass(slots=True, eq=False)
class Letter:
    """An intent on its way to its sink.

    `number` is its id in the spool, `size` its length there in characters; both are None for an intent that
    is only in memory. `ended`: it is delivered or a dead letter.
    """

    intent: WriteIntent
    number: int | None = None
    size: int | None = None
    ended: bool = False

    @property
    def weight(self) -> int:
        """The approximate size of the payload as text, in bytes."""
        return weight(self.intent.payload) if self.size is None else self.size


def within(letters: Sequence[Letter], limit: int) -> int:
    """How many of `letters` fit into `limit` bytes together; at least one."""
    total = 0
    for at, letter in enumerate(letters):
        total += letter.weight
        if total > limit and at:
            return at
    return len(letters)


def facts(intents: Iterable[WriteIntent], secrets_of: SecretsOf) -> dict[str, Any]:
    """The jobs, runs and keys of `intents` for a log event, some of each; a key may hold a secret."""
    named = [(intent.job_id, intent.run_id, intent.key) for intent in intents]
    jobs, runs, keys = zip(*named, strict=True) if named else ((), (), ())
    secrets = secrets_of({str(job_id) for job_id in jobs})
    shown = (hide(str(key), secrets) for key in dict.fromkeys(keys))
    return {"job_id": _some(jobs), "run_id": _some(runs), "key": _some(shown)}


def _some(names: Iterable[object]) -> str:
    return listed(excerpt(str(name), limit=_NAME) for name in dict.fromkeys(names))
