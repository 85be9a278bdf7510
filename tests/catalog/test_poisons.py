"""Poisons that SQL writes into rows, also where no constraint keeps them out, are those rows' own trouble."""

from __future__ import annotations

from sqlalchemy import exc, text

from piko.core.types import JobStatus
from piko.store.engine import Database
from tests.catalog.test_reconciler import replica_of
from tests.harness.databases import TestDatabase
from tests.poisons import POISONS

_UNCHECKED = {
    "mariadb": "SET SESSION check_constraint_checks = 0",
    "sqlite": "PRAGMA ignore_check_constraints = 1",
}
_SCHEDULE = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES (:job, 'interval', :text)"
)
_CONFIG = "INSERT INTO job_config (job_id, config_json) VALUES (:job, :text)"


async def _write(database: Database, statement: str, job: str, content: str) -> bool:
    """Whether the database took it, without its constraints where it can do without."""
    try:
        async with database.transaction() as connection:
            dialect = connection.dialect
            kind = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
            if unchecked := _UNCHECKED.get(kind):  # MySQL checks always
                await connection.execute(text(unchecked))
            await connection.execute(text(statement), {"job": job, "text": content})
    except exc.DBAPIError:
        return False
    return True


async def test_a_poison_in_a_row_costs_no_other_row_its_pass(migrated_database: TestDatabase) -> None:
    async with replica_of(migrated_database.dsn) as replica:
        schedules, configs = [], []
        for number, poison in enumerate(POISONS):
            if await _write(replica.database, _SCHEDULE, f"s{number}", poison.text):
                schedules.append(f"s{number}")
            if await _write(replica.database, _CONFIG, f"c{number}", poison.text):
                configs.append(f"c{number}")
        await _write(replica.database, _SCHEDULE, "a", '{"every": "10s"}')
        await _write(replica.database, _CONFIG, "a", '{"limit": 3}')
        await replica.compare()
        assert replica.status("a") is JobStatus.SCHEDULED
        assert {replica.status(job_id) for job_id in schedules} <= {JobStatus.INVALID}
        unchecked = migrated_database.kind != "mysql"
        assert len(schedules) + len(configs) > (len(POISONS) if unchecked else 0)
        errors = {item.job_id: item.error for item in replica.configs.unrecorded()}
        assert errors["a"] is None
        for job_id in configs:
            assert errors[job_id], job_id
            assert POISONS[int(job_id[1:])].said in str(errors[job_id])
        assert await replica.compare() == set()
