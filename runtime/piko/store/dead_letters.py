"""`dead_letter`: each replica lists what its sinks refused, people ask, and the replica that has it acts.

The table is a notice board: the records are on the replicas' disks, and only the process that has a file open
may change it. So an act writes what is asked into the row, and the replica does it at its next look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields

from sqlalchemy import delete, select, update

from piko.model.changes import Actor
from piko.model.dead_letters import LetterVerb, ListedLetter
from piko.model.row_edits import RowEdit
from piko.store.changes import insert_changes
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.dead_letters import dead_letter
from piko.store.upsert import write_rows

_AT_ONCE = 500
_NAMES = [field.name for field in fields(ListedLetter)]
_COLUMNS = {"key": "record_key"}
"""By field of a letter: its column, where that is named otherwise."""


class DeadLetterStore:
    """Writes the rows. All raise `DatabaseUnavailableError`."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    # ---- what the replica does ---------------------------------------------------------------------

    async def listed(self, instance_ids: Collection[str]) -> set[str]:
        """The ids of the letters that the table has for these instances."""
        found: set[str] = set()
        for some in chunks(instance_ids):
            statement = select(dead_letter.c.letter_id).where(dead_letter.c.instance_id.in_(some))
            async with self._database.statements() as connection:
                found |= set((await connection.execute(statement)).scalars())
        return found

    async def put(self, instance_id: str, letters: Sequence[ListedLetter]) -> None:
        """List `letters` as those of `instance_id`; what is asked for one that is listed stays asked."""
        rows = [
            {
                "instance_id": instance_id,
                **{_COLUMNS.get(name, name): getattr(letter, name) for name in _NAMES},
            }
            for letter in letters
        ]
        if rows:
            async with self._database.transaction() as connection:
                await write_rows(connection, self._database, dead_letter, rows, update=["instance_id"])

    async def remove(self, letter_ids: Collection[str], *, unasked_only: bool = False) -> None:
        """Remove letters from the list; `unasked_only`: not those for which something is asked."""
        for some in chunks(letter_ids):
            statement = delete(dead_letter).where(dead_letter.c.letter_id.in_(some))
            if unasked_only:
                statement = statement.where(dead_letter.c.asked.is_(None))
            async with self._database.transaction() as connection:
                await connection.execute(statement)

    async def asked(self, instance_ids: Collection[str]) -> dict[str, LetterVerb]:
        """What is asked for letters of these instances, by letter; at most 500 for each 500 instances."""
        columns = dead_letter.c
        found: dict[str, str] = {}
        for some in chunks(instance_ids):
            statement = (
                select(columns.letter_id, columns.asked)
                .where(columns.instance_id.in_(some), columns.asked.is_not(None))
                .limit(_AT_ONCE)
            )
            async with self._database.statements() as connection:
                found |= {row.letter_id: row.asked for row in await connection.execute(statement)}
        known = {verb.value: verb for verb in LetterVerb}
        return {item: known[word] for item, word in found.items() if word in known}

    async def refuse(self, letter_ids: Collection[str], *, answer: str) -> None:
        """Say why what is asked for these cannot be done; nothing is asked for them then."""
        for some in chunks(letter_ids):
            statement = (
                update(dead_letter)
                .where(dead_letter.c.letter_id.in_(some))
                .values(asked=None, asked_by=None, asked_at=None, answer=answer)
            )
            async with self._database.transaction() as connection:
                await connection.execute(statement)

    # ---- what people do ----------------------------------------------------------------------------

    async def ask(self, letters: Sequence[ListedLetter], verb: LetterVerb, *, actor: Actor) -> set[str]:
        """Ask for `verb` for each of `letters`, logged, in one transaction; ids of those still listed."""
        ids, asked = dead_letter.c.letter_id, set[str]()
        values = {"asked": verb, "asked_by": actor.who[:255], "asked_at": Now(), "answer": None}
        async with self._database.transaction() as connection:
            for some in chunks([letter.letter_id for letter in letters]):
                # Of those that are not there any more the replica did what was asked before.
                listed = await connection.execute(select(ids).where(ids.in_(some)).with_for_update())
                there = list(listed.scalars())
                await connection.execute(update(dead_letter).where(ids.in_(there)).values(values))
                asked.update(there)
            lines = [
                (actor, item.job_id, _asked(item, verb), None) for item in letters if item.letter_id in asked
            ]
            await insert_changes(connection, lines)
        return asked


def _asked(letter: ListedLetter, verb: LetterVerb) -> RowEdit:
    before = {name: getattr(letter, name) for name in _NAMES if name != "job_id"}
    return RowEdit(what=f"{verb}_dead_letter", before=before, after={"asked": verb})
