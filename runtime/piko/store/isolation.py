"""What is written for many jobs together, when the database refuses it: whose trouble it is.

The leader writes what is due for hundreds of jobs in one transaction, and one value of one of them is enough
for the server to refuse all of it: a number that its column cannot hold, a constraint or a trigger of
somebody's own. Such a refusal would come again at every try, and with it every other job would stop.

So a batch that is refused is cut in two, and each half again, until what is refused is of one job alone. The
others are written; that job is named, with the server's words. Nothing is spent on this while nothing is
refused. What the database does not take *now* (it is away, deadlocked, read-only) is no refusal: that is
`DatabaseUnavailableError`, and goes up to who waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy import exc

from piko.text import error_text, excerpt

R = TypeVar("R")

REFUSALS = (exc.StatementError, ValueError, TypeError, OverflowError)
"""What the server says no to, and what the driver cannot hand over to it."""
_LIMIT = 1_000


@dataclass(slots=True, kw_only=True)
class Written(Generic[R]):
    """What the parts of a batch came to, and the jobs whose part the database refuses, with its words."""

    results: list[R] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


async def write_isolated(
    write: Callable[[Collection[str] | None], Awaitable[R]],
    *,
    jobs: Callable[[], Iterable[str]],
    suspects: Collection[str] = (),
) -> Written[R]:
    """Call `write`, in one piece if that works; else for as many jobs together as do.

    `write` makes one transaction of what concerns the jobs that it is given; None: all of them. `jobs` tells
    which there are. `suspects`, of which something was refused before, are tried each alone, so that they
    cost the others nothing. Raises what `write` raises and is no refusal; what was written before stays.
    """
    written: Written[R] = Written()
    if not suspects:
        try:
            written.results.append(await write(None))
        except REFUSALS as error:
            ids = sorted(set(jobs()))
            if len(ids) <= 1:
                written.refused.update(dict.fromkeys(ids, refusal_text(error)))
                if not ids:
                    raise
                return written
            parts = _halves(ids)
        else:
            return written
    else:
        ids = sorted(set(jobs()))
        parts = [[job_id for job_id in ids if job_id not in suspects]]
        parts += [[job_id] for job_id in ids if job_id in suspects]
    pending = [part for part in reversed(parts) if part]
    while pending:
        part = pending.pop()
        try:
            written.results.append(await write(frozenset(part)))
        except REFUSALS as error:
            if len(part) == 1:
                written.refused[part[0]] = refusal_text(error)
            else:
                pending.extend(reversed(_halves(part)))
    return written


def refusal_text(error: BaseException) -> str:
    """The server's or the driver's own words: SQLAlchemy's hold the statement, and could hold its values."""
    cause = error.orig if isinstance(error, exc.StatementError) and error.orig is not None else error
    return excerpt(error_text(cause), limit=_LIMIT)


def _halves(ids: Sequence[str]) -> list[Sequence[str]]:
    middle = len(ids) // 2
    return [ids[:middle], ids[middle:]]
