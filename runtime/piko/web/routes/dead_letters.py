"""`/dead-letters`: records that sinks refused, and asking their replicas to replay or drop them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from piko.model.dead_letters import LetterVerb
from piko.steering import dead_letters, shell
from piko.store.engine import Database
from piko.store.reports.dead_letters import DeadLetterList, DeadLetterReport, LetterFilter
from piko.web import paging
from piko.web.asked import Act, BulkResult, Done, by_api
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import IDS, JOBS, ByCaller, OnDatabase

router = APIRouter(tags=["dead letters"])

LetterId = Annotated[str, Path(max_length=64, pattern=r"^[\x21-\x7e]+$", description="The letter's id.")]


class LetterQuery(BaseModel):
    """Which dead letters. Filters that are given all apply."""

    sink: str | None = Field(None, max_length=255, description="Refused by this sink.")
    job: str | None = Field(None, max_length=128, pattern=JOBS, description="Written by this job.")
    run: str | None = Field(None, max_length=64, pattern=IDS, description="Written by this run.")
    replica: str | None = Field(None, max_length=64, pattern=IDS, description="On the disk of this instance.")
    asked: bool | None = Field(None, description="Whether a replay or a drop is asked for, and not done yet.")

    def filter(self) -> LetterFilter:
        """What the store is asked for."""
        return LetterFilter(
            sink=self.sink,
            job_id=self.job,
            run_id=self.run,
            instance_id=self.replica,
            asked=self.asked,
        )


class LetterListQuery(LetterQuery):
    """A page of dead letters."""

    cursor: Cursor = None
    limit: Limit = 50


class LetterDone(Done):
    """A dead letter for which something is asked, or would be."""

    letter: DeadLetterReport


@router.get("/dead-letters")
async def list_letters(
    query: Annotated[LetterListQuery, Query()], database: OnDatabase
) -> Page[DeadLetterReport]:
    """Records that sinks refused, without payload, the newest first; each replica lists its newest 500."""
    return await page_of(database, query)


@router.get("/dead-letters/{letter_id}")
async def one_letter(letter_id: LetterId, database: OnDatabase) -> DeadLetterReport:
    """One dead letter."""
    found = await DeadLetterList(database=database).one(letter_id)
    if found is None:
        raise dead_letters.no_letter(letter_id)
    return found


@router.post("/dead-letters:replay")
async def replay_letters(
    act: Act, query: Annotated[LetterQuery, Query()], database: OnDatabase, caller: ByCaller
) -> BulkResult:
    """Have every dead letter written to its sink again that the filters leave, at most 1,000."""
    return await _each(LetterVerb.REPLAY, act, query, database, caller)


@router.post("/dead-letters:drop")
async def drop_letters(
    act: Act, query: Annotated[LetterQuery, Query()], database: OnDatabase, caller: ByCaller
) -> BulkResult:
    """Have every dead letter deleted that the filters leave, at most 1,000."""
    return await _each(LetterVerb.DROP, act, query, database, caller)


@router.post("/dead-letters/{letter_id}:replay")
async def replay_letter(letter_id: LetterId, act: Act, database: OnDatabase, caller: ByCaller) -> LetterDone:
    """Have a dead letter written to its sink again; its replica does so within a poll."""
    return await _one(LetterVerb.REPLAY, letter_id, act, database, caller)


@router.post("/dead-letters/{letter_id}:drop")
async def drop_letter(letter_id: LetterId, act: Act, database: OnDatabase, caller: ByCaller) -> LetterDone:
    """Have a dead letter deleted; its replica does so within a poll."""
    return await _one(LetterVerb.DROP, letter_id, act, database, caller)


async def page_of(database: Database, query: LetterListQuery) -> Page[DeadLetterReport]:
    """The page that `query` asks for. Raises `ProblemError` if its cursor is another list's."""
    wanted = query.filter()
    after = paging.key_of(query.cursor, filters=wanted, read=_read_key)
    found = await DeadLetterList(database=database).page(wanted, after=after, limit=query.limit + 1)
    return paging.page_of(found, query.limit, key=lambda item: [item.letter_id], filters=wanted)


def _read_key(key: paging.Key) -> str:
    """Where in a list the letter of a cursor's `key` stands. Raises `ValueError`."""
    (letter_id,) = key
    if not isinstance(letter_id, str) or not letter_id.isascii():
        raise ValueError("the key of a letter is its id")
    return letter_id


async def _one(
    verb: LetterVerb, letter_id: str, act: Act, database: OnDatabase, caller: ByCaller
) -> LetterDone:
    letter = await dead_letters.ask(database, letter_id, verb, actor=by_api(caller, act), dry_run=act.dry_run)
    line = shell.command("spool", verb, letter_id, reason=act.reason)
    return LetterDone(letter=letter, dry_run=act.dry_run, shell=line)


async def _each(
    verb: LetterVerb, act: Act, query: LetterQuery, database: OnDatabase, caller: ByCaller
) -> BulkResult:
    wanted = query.filter()
    results = await dead_letters.ask_for_all(
        database, wanted, verb, actor=by_api(caller, act), dry_run=act.dry_run
    )
    line = shell.of_letters(verb, wanted, reason=act.reason)
    return BulkResult.of(results, dry_run=act.dry_run, shell=line)
