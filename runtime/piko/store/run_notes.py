"""What is found out of a run after its end, at its row: records that its sinks refused."""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_, select, update

from piko.core.types import FINAL_STATES
from piko.store.engine import Database
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.states import job_state

REFUSED = "records refused: "
"""How such an error begins: it may be replaced by a later count."""


class RunNotes:
    """Writes to rows of runs that are over. All raise `DatabaseUnavailableError`."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def refused(self, run_id: str, text: str) -> bool:
        """Say at the run that records of it were refused, and in the summary of its job if it is the last.

        False while the run is not over, or is not there.

        Its state stays, and so does an error of its own.
        """
        runs, states = job_run.c, job_state.c
        of_run = update(job_run).where(
            runs.run_id == run_id,
            runs.state.in_([state.value for state in FINAL_STATES]),
            _unsaid(runs.error),
        )
        owner = select(runs.job_id).where(runs.run_id == run_id).scalar_subquery()
        of_job = update(job_state).where(
            states.job_id == owner, states.last_run_id == run_id, _unsaid(states.last_error)
        )
        async with self._database.transaction() as connection:
            outcome = await connection.execute(of_run.values(error=text))
            if outcome.rowcount > 0:
                await connection.execute(of_job.values(last_error=text))
        return outcome.rowcount > 0


def _unsaid(error: ColumnElement[str | None]) -> ColumnElement[bool]:
    return or_(error.is_(None), error.startswith(REFUSED, autoescape=True))
