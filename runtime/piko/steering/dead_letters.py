"""Asking replicas to replay dead letters, or to drop them: one, or all that a filter leaves."""

from __future__ import annotations

from collections.abc import Sequence

from piko.errors import NotFoundError
from piko.model.changes import Actor
from piko.model.dead_letters import LetterVerb
from piko.steering.bulk import ItemResult, few_enough
from piko.steering.shell import MOST
from piko.store.dead_letters import DeadLetterStore
from piko.store.engine import Database
from piko.store.reports.dead_letters import DeadLetterList, DeadLetterReport, LetterFilter


async def ask(
    database: Database, letter_id: str, verb: LetterVerb, *, actor: Actor, dry_run: bool = False
) -> DeadLetterReport:
    """Ask the replica that has the letter for `verb`, which it does within a poll; the letter as it is then.

    Another request for it that is not done yet is replaced. Raises `NotFoundError`.
    """
    letters = DeadLetterList(database=database)
    found = await letters.one(letter_id)
    if found is None:
        raise no_letter(letter_id)
    if dry_run:
        return found
    if not await DeadLetterStore(database=database).ask([found.letter], verb, actor=actor):
        raise no_letter(letter_id)
    return await letters.one(letter_id) or found


async def ask_for_all(
    database: Database, wanted: LetterFilter, verb: LetterVerb, *, actor: Actor, dry_run: bool = False
) -> list[ItemResult]:
    """Ask for `verb` for every listed letter that `wanted` leaves, at most 1,000, in one transaction.

    Raises `RefusedError`, before anything is asked, if the filter leaves more.
    """
    found = await DeadLetterList(database=database).page(wanted, after=None, limit=MOST + 1)
    few_enough(found, "dead letters", "`sink`, `job`, `run` or `replica`")
    return await _ask(database, found, verb, actor=actor, dry_run=dry_run)


async def _ask(
    database: Database,
    found: Sequence[DeadLetterReport],
    verb: LetterVerb,
    *,
    actor: Actor,
    dry_run: bool,
) -> list[ItemResult]:
    asked = {item.letter_id for item in found}
    if not dry_run:
        letters = [item.letter for item in found]
        asked = await DeadLetterStore(database=database).ask(letters, verb, actor=actor)
    return [
        ItemResult(
            job_id=item.job_id,
            run_id=item.run_id,
            letter_id=item.letter_id,
            result="changed" if item.letter_id in asked else "unchanged",
            detail=item.note if item.letter_id in asked else "its replica did what was asked before",
        )
        for item in found
    ]


async def ask_for_each(
    database: Database, letter_ids: Sequence[str], verb: LetterVerb, *, actor: Actor, dry_run: bool = False
) -> list[ItemResult]:
    """Ask for `verb` for each of `letter_ids`. Raises `NotFoundError`, before anything is asked."""
    letters = DeadLetterList(database=database)
    found = [(letter_id, await letters.one(letter_id)) for letter_id in dict.fromkeys(letter_ids)]
    for letter_id, item in found:
        if item is None:
            raise no_letter(letter_id)
    return await _ask(database, [item for _, item in found if item], verb, actor=actor, dry_run=dry_run)


def no_letter(letter_id: str) -> NotFoundError:
    """The error for a letter that is not listed."""
    return NotFoundError(
        f"no dead letter {letter_id!r} is listed; it was replayed or dropped, or never there: "
        "`piko spool list` shows those that are"
    )
