"""What is found out of a run after its end, at its row: records that its sinks refused."""

from __future__ import annotations

from sqlalchemy import or_, update

from piko.core.types import FINAL_STATES
from piko.store.engine import Database
from piko.store.schema.tables.runs import job_run

REFUSED = "records refused: "
"""How such an error begins: it may be replaced by a later count."""


class RunNotes:
    """Writes to rows of runs that are over. All raise `DatabaseUnavailableError`."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def refused(self, run_id: str, text: str) -> bool:
        """Say at the run that records of it were refused; False while it is not over, or is not there.

        Its state stays, and so does an error of its own.
        """
        runs = job_run.c
        statement = (
            update(job_run)
            .where(
                runs.run_id == run_id,
                runs.state.in_([state.value for state in FINAL_STATES]),
            )
            .values(error=text)
        )
        async with self._database.statements() as connection:
            unsaid = or_(runs.error.is_(None), runs.error.startswith(REFUSED, autoescape=True))
            outcome = await connection.execute(statement.where(unsaid))
            return outcome.rowcount > 0
