"""What is written for many jobs together, when the database refuses it: whose trouble it is.

The leader writes what is due for hundreds of jobs in one transaction, and one value of one of them is enough
for the server to refuse all of it: a number that its column cannot hold, a constraint or a trigger of
somebody's own. Such a refusal would come again at every try, and with it every other job would stop.

So a batch that is refused is cut in two, and each half again, until what is refused is of one job alone. The
others are written; that job is named, with the server's words. Nothing is spent on this while nothing is
refused. What the database does not take *now* (it is away, deadlocked, read-only) is no refusal: that is
`DatabaseUnavailableError`, and goes up to who waits for it. All but one: a row that somebody holds in a
transaction is the trouble of its job, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy import exc

from piko.errors import RowsLockedError
from piko.text import error_text, excerpt

R = TypeVar("R")

REFUSALS = (exc.StatementError, ValueError, TypeError, OverflowError)
"""What the server says no to, and what the driver cannot hand over to it."""
_LIMIT = 1_000


@dataclass(slots=True, kw_only=True)
class Written(Generic[R]):
    """What the parts of a batch came to.

    And the jobs whose part the database refuses, with its words; and those of which somebody holds rows. Of
    these the `searched` had to be asked for: what was written could not name them.
    """

    results: list[R] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    searched: set[str] = field(default_factory=set)

    @property
    def left_out(self) -> set[str]:
        """The jobs of which nothing was written."""
        return self.held.union(self.refused)


async def no_holders_known(_job_ids: Collection[str]) -> set[str]:
    """The default of `whose`: no information on held rows."""
    return set()


async def write_isolated(
    write: Callable[[Collection[str] | None], Awaitable[R]],
    *,
    jobs: Callable[[], Iterable[str]],
    suspects: Collection[str] = (),
    held: Collection[str] = (),
    whose: Callable[[Collection[str]], Awaitable[set[str]]] = no_holders_known,
) -> Written[R]:
    """Call `write` once for all jobs if that works, otherwise for the largest groups of jobs that work.

    - `write`: writes everything about the given jobs in one transaction; None: all jobs.
    - `jobs`: the jobs that there are.
    - `suspects`: jobs of which something was refused before; each is tried alone, so that the others succeed.
    - `held`: jobs whose rows were held by other transactions, and had to be searched for.
    - `whose`: returns which of the given jobs are still held, without waiting. Held jobs are left out, also
      those whose rows the write itself finds locked.

    Raises the other errors of `write`; what was written before stays written.
    """
    written: Written[R] = Written()
    pending: list[Collection[str] | None] = [None]
    tried: set[frozenset[str] | None] = set()
    if suspects or held:
        written.searched |= await whose(held) if held else set()
        written.held |= written.searched
        pending = _parts(set(jobs()) - written.held, suspects)
    while pending:
        part = pending.pop()
        if part is not None and not part:
            continue
        try:
            written.results.append(await write(None if part is None else frozenset(part)))
        except REFUSALS as error:
            ids = sorted(set(jobs()) if part is None else part)
            if not ids:
                raise
            if len(ids) == 1:
                written.refused[ids[0]] = refusal_text(error)
            else:
                pending.extend(reversed(_halves(ids)))
        except RowsLockedError as error:
            ids = sorted(set(jobs()) if part is None else part)
            if not ids:
                raise
            key = None if part is None else frozenset(part)
            if not error.jobs and key not in tried:  # most such locks are a neighbour's, who is done by now
                tried.add(key)
                pending.append(part)
                continue
            found = await _take_note(written, error, ids, whose)
            rest = [job_id for job_id in ids if job_id not in found]
            pending.extend([rest] if found else reversed(_halves(ids)))
    return written


def _parts(job_ids: Collection[str], suspects: Collection[str]) -> list[Collection[str] | None]:
    """The last is written first: all that is not suspected, in one piece."""
    ids = sorted(job_ids)
    alone = [[job_id] for job_id in reversed(ids) if job_id in suspects]
    return [*alone, [job_id for job_id in ids if job_id not in suspects]]


async def _take_note(
    written: Written[R],
    error: RowsLockedError,
    ids: Collection[str],
    whose: Callable[[Collection[str]], Awaitable[set[str]]],
) -> set[str]:
    """Which of `ids` are held; a job that was tried alone is, whatever it was that it met."""
    found = set(error.jobs or await whose(ids)) & set(ids)
    found = found or (set(ids) if len(ids) == 1 else set())
    written.held |= found
    if not error.jobs:
        written.searched |= found
    return found


def refusal_text(error: BaseException) -> str:
    """The server's or the driver's own words: SQLAlchemy's hold the statement, and could hold its values."""
    cause = error.orig if isinstance(error, exc.StatementError) and error.orig is not None else error
    return excerpt(error_text(cause), limit=_LIMIT)


def _halves(ids: Sequence[str]) -> list[Sequence[str]]:
    middle = len(ids) // 2
    return [ids[:middle], ids[middle:]]
