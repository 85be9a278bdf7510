"""Dead letters for people, the newest first, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, RowMapping, select

from piko.model.dead_letters import ListedLetter
from piko.store.engine import Database
from piko.store.reports.replicas import SILENT_S
from piko.store.schema.column_types import Now
from piko.store.schema.tables.dead_letters import dead_letter
from piko.store.schema.tables.replicas import runtime_instance

_FORGOTTEN = "7 days after it was last heard of"


class LetterHolder(StrEnum):
    """How the replica is that has a letter on its disk."""

    ALIVE = "alive"
    """It does what is asked within a poll."""
    SILENT = "silent"
    """It was not heard of for a minute, and may be dead."""
    ENDED = "ended"
    """It stopped, or nothing is known of it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterReport:
    """One record that a sink refused, and what is asked to be done with it. Never its payload.

    `answer` says why the replica could not do what was asked last, and `note` what stands in the way.
    """

    letter_id: str
    sink: str
    job_id: str
    run_id: str
    key: str
    error: str
    died_at: datetime
    instance_id: str
    host: str | None
    holder: LetterHolder
    asked: str | None
    asked_by: str | None
    asked_at: datetime | None
    answer: str | None
    note: str | None

    @property
    def letter(self) -> ListedLetter:
        """The letter alone."""
        return ListedLetter(**{item.name: getattr(self, item.name) for item in fields(ListedLetter)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which dead letters a list has: those that pass every part that is given.

    `asked`: whether a replay or a drop is asked for them and not done yet.
    """

    sink: str | None = None
    job_id: str | None = None
    run_id: str | None = None
    instance_id: str | None = None
    asked: bool | None = None


_OWN = ("letter_id", "sink", "job_id", "run_id", "error", "died_at", "instance_id", "answer")
_ASKED = ("asked", "asked_by", "asked_at")


class DeadLetterList:
    """Reads them."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def page(self, wanted: LetterFilter, *, after: str | None, limit: int) -> list[DeadLetterReport]:
        """At most `limit` that pass `wanted`, the newest first, older than the letter `after`."""
        conditions = _conditions(wanted)
        if after is not None:
            conditions.append(dead_letter.c.letter_id < after)
        return await self._read(conditions, limit)

    async def one(self, letter_id: str) -> DeadLetterReport | None:
        """The letter of that id."""
        found = await self._read([dead_letter.c.letter_id == letter_id], 1)
        return found[0] if found else None

    async def _read(self, conditions: list[ColumnElement[bool]], limit: int) -> list[DeadLetterReport]:
        """At most `limit`, the newest first. Two statements: joined, MySQL sorts every letter."""
        letter, instance = dead_letter.c, runtime_instance.c
        letters = (
            select(*(letter[name] for name in (*_OWN, *_ASKED)), letter.record_key.label("key"))
            .where(*conditions)
            .order_by(letter.letter_id.desc())
            .limit(limit)
        )
        async with self._database.statements() as connection:
            rows = (await connection.execute(letters)).all()
            holders = {row.instance_id for row in rows}
            replicas = select(
                instance.instance_id, instance.host, instance.stopped_at, instance.heartbeat_at,
                Now().label("now"),
            ).where(instance.instance_id.in_(sorted(holders)))  # fmt: skip
            known = await connection.execute(replicas) if holders else ()
            by_id = {row.instance_id: row for row in known}
        return [_report(row._mapping, by_id.get(row.instance_id)) for row in rows]


def _conditions(wanted: LetterFilter) -> list[ColumnElement[bool]]:
    columns = dead_letter.c
    named = ("sink", "job_id", "run_id", "instance_id")
    found: list[ColumnElement[bool]] = [
        columns[name] == getattr(wanted, name) for name in named if getattr(wanted, name) is not None
    ]
    if wanted.asked is not None:
        found.append(columns.asked.is_not(None) if wanted.asked else columns.asked.is_(None))
    return found


def _report(letter: RowMapping, replica: Row[Any] | None) -> DeadLetterReport:
    host = None if replica is None else replica.host
    holder = LetterHolder.ALIVE
    if replica is None or replica.heartbeat_at is None or replica.stopped_at is not None:
        holder = LetterHolder.ENDED
    elif replica.now - replica.heartbeat_at > timedelta(seconds=SILENT_S):
        holder = LetterHolder.SILENT
    note = _note(holder, host or letter["instance_id"])
    return DeadLetterReport(**letter, host=host, holder=holder, note=note)


def _note(holder: LetterHolder, name: str) -> str | None:
    if holder is LetterHolder.ALIVE:
        return None
    what = "has ended" if holder is LetterHolder.ENDED else "is silent"
    return (
        f"its replica {name} {what}: a process that starts with the same spool volume takes it over and does "
        f"what is asked then; if that volume was deleted, so was the record, and this line goes {_FORGOTTEN}"
    )
