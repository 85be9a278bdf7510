"""An intent on its way to its sink, and how several of them are told in a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from piko.persistence.codec import weight
from piko.persistence.intent import WriteIntent
from piko.text import excerpt, listed

_NAME = 200


@dataclass(slots=True, eq=False)
class Letter:
    """An intent on its way; `number` where it lies in the spool, `size` its characters there.

    `ended`: delivered or buried.
    """

    intent: WriteIntent
    number: int | None = None
    size: int | None = None
    ended: bool = False

    @property
    def weight(self) -> int:
        """About how many bytes it takes as text."""
        return weight(self.intent.payload) if self.size is None else self.size


def within(letters: Sequence[Letter], limit: int) -> int:
    """How many of `letters` have `limit` bytes together: at least one."""
    total = 0
    for at, letter in enumerate(letters):
        total += letter.weight
        if total > limit and at:
            return at
    return len(letters)


def facts(intents: Iterable[WriteIntent]) -> dict[str, Any]:
    """Whose they are, for a log: job, run and key, some of each."""
    named = [(intent.job_id, intent.run_id, intent.key) for intent in intents]
    jobs, runs, keys = zip(*named, strict=True) if named else ((), (), ())
    return {"job_id": _some(jobs), "run_id": _some(runs), "key": _some(keys)}


def _some(names: Iterable[object]) -> str:
    return listed(excerpt(str(name), limit=_NAME) for name in dict.fromkeys(names))
