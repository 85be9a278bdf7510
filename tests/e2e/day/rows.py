"""The rows of the day's jobs, and the progress that must outlive their resources."""

from __future__ import annotations

from tests.e2e.database import TrialDatabase

_OF_THE_OPERATOR = frozenset({"managed_by", "version", "updated_at", "updated_by"})
"""Columns that say who wrote a row and when."""
_PROGRESS = "job_id, schedule_hash, cursor_at, next_run_at, data_through, last_run_id, last_state"


def content_of_rows(database: TrialDatabase, namespace: str) -> dict[tuple[str, str], dict[str, str]]:
    """By table and job, what the rows of the resources in a namespace say, with watermark and cursor."""
    mine = f"managed_by LIKE '%/{namespace}/%'"
    jobs = f"SELECT job_id FROM scheduled_job WHERE {mine}"
    statements = {
        "scheduled_job": f"SELECT * FROM scheduled_job WHERE {mine}",
        "job_config": f"SELECT * FROM job_config WHERE {mine}",
        "job_state": f"SELECT {_PROGRESS} FROM job_state WHERE job_id IN ({jobs})",
    }
    return {
        (table, row["job_id"]): {key: value for key, value in row.items() if key not in _OF_THE_OPERATOR}
        for table, statement in statements.items()
        for row in database.rows(statement)
    }


def differing(
    before: dict[tuple[str, str], dict[str, str]], after: dict[tuple[str, str], dict[str, str]]
) -> list[str]:
    """Each row that is not as it was, with the columns that differ."""
    found = []
    for place in sorted(before.keys() | after.keys()):
        old, new = before.get(place), after.get(place)
        if old is None or new is None:
            found.append(f"{place[1]} in {place[0]} is {'not there' if new is None else 'there'} now")
        elif columns := [f"{key}: {old[key]} -> {new.get(key)}" for key in old if old[key] != new.get(key)]:
            found.append(f"{place[1]} in {place[0]}: {', '.join(columns)}")
    return found
