"""`run_log` for people: what a run says of itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import select

from piko.core.types import RunState
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.schema.tables.run_logs import run_log
from piko.store.schema.tables.runs import job_run

_STAMPS_TOGETHER = 500
_LOGS_TOGETHER = 50
"""At most 64 KiB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLogReport:
    """One row of `run_log`. `head` and `tail` are None if the run logged nothing; `result` is JSON."""

    run_id: str
    job_id: str
    head: str | None
    tail: str | None
    line_count: int
    left_out: int
    progress_done: float | None
    progress_total: float | None
    progress_text: str | None
    result: str | None
    written_at: datetime | None

    @property
    def progress(self) -> str:
        """How far the run said that it is: `3 of 10, reading`; empty if it did not say."""
        if self.progress_done is None:
            return ""
        total = "" if self.progress_total is None else f" of {self.progress_total:g}"
        return f"{self.progress_done:g}{total}{f', {self.progress_text}' if self.progress_text else ''}"

    def lines(self, *, after: int = 0) -> list[str]:
        """The lines behind the first `after`, with one that says how many are missing where some are."""
        first, last = _whole_lines(self.head), _whole_lines(self.tail)
        begin_of_last = self.line_count - len(last)
        shown = first[after:]
        missing = begin_of_last - max(after, len(first))
        if missing > 0:
            shown.append(f"… {missing} lines were left out …")
        return shown + last[max(after - begin_of_last, 0) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStamp:
    """The state of a run, and what differs after anything that it says; None where it has said nothing."""

    state: RunState
    line_count: int | None
    written_at: datetime | None


_COLUMNS = [run_log.c[field.name] for field in fields(RunLogReport)]


class RunLogReader:
    """Reads what runs said."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def of_run(self, run_id: str) -> RunLogReport | None:
        """What a run said so far; None: nothing."""
        statement = select(*_COLUMNS).where(run_log.c.run_id == run_id)
        async with self._database.statements() as connection:
            row = (await connection.execute(statement)).first()
            return None if row is None else RunLogReport(**row._mapping)

    async def stamps(self, run_ids: Collection[str]) -> dict[str, LogStamp]:
        """Of each of `run_ids` that has a row, whether it goes on, and how much it has said."""
        columns = (job_run.c.run_id, job_run.c.state, run_log.c.line_count, run_log.c.written_at)
        joined = job_run.outerjoin(run_log, run_log.c.run_id == job_run.c.run_id)
        found: dict[str, LogStamp] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(run_ids, size=_STAMPS_TOGETHER):
                statement = select(*columns).select_from(joined).where(job_run.c.run_id.in_(chunk))
                for row in await connection.execute(statement):
                    state = RunState(row.state)
                    stamp = LogStamp(state=state, line_count=row.line_count, written_at=row.written_at)
                    found[row.run_id] = stamp
        return found

    async def of_runs(self, run_ids: Collection[str]) -> dict[str, RunLogReport]:
        """What each of `run_ids` said so far, but for those that said nothing."""
        found: dict[str, RunLogReport] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(run_ids, size=_LOGS_TOGETHER):
                statement = select(*_COLUMNS).where(run_log.c.run_id.in_(chunk))
                rows = await connection.execute(statement)
                found.update((row.run_id, RunLogReport(**row._mapping)) for row in rows)
        return found


def _whole_lines(text: str | None) -> list[str]:
    """The lines of a log, each with the indented ones that continue it."""
    found: list[str] = []
    for line in (text or "").split("\n") if text else ():
        if found and line.startswith("  "):
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found
