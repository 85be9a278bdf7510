"""The page of changes: who did what, by which way and why, and what was before and after."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from piko.model.changes import LoggedChange
from piko.web.views.changes import Difference, change_line
from tests.harness.databases import TestDatabase
from tests.web.clients import serving
from tests.web.rows import add_jobs

NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ('{"enabled": true}', '{"enabled": false}', [("enabled", "true", "false")]),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', [("b", "2", "3")]),
        (None, '{"schedule_type": "cron"}', [("schedule_type", "", "cron")]),
        ('{"timezone": "UTC"}', None, [("timezone", "UTC", "")]),
        ('{"timezone": "UTC"}', '{"timezone": null}', [("timezone", "UTC", "null")]),
        ("no JSON", "[1]", [("", "no JSON", "[1]")]),
        (None, None, []),
    ],
)
def test_a_change_shows_the_facts_that_differ(
    before: str | None, after: str | None, shown: list[tuple[str, str, str]]
) -> None:
    change = LoggedChange(
        change_id="1", at=NOW, who="ann", via="api", what="edit_schedule", job_id="a",
        before=before, after=after, reason=None,
    )  # fmt: skip
    line = change_line(change, NOW)
    assert [(item.name, item.before, item.after) for item in line.differences] == shown
    assert line.what == "edit schedule"


def test_a_long_fact_is_cut() -> None:
    change = LoggedChange(
        change_id="1", at=NOW, who="ann", via="api", what="edit", job_id=None,
        before=None, after=f'{{"a": "{"x" * 5000}"}}', reason=None,
    )  # fmt: skip
    (found,) = change_line(change, NOW).differences
    assert isinstance(found, Difference)
    assert len(found.after) < 300


async def test_the_page_names_who_did_what_and_why(emptied_database: TestDatabase) -> None:
    await add_jobs(emptied_database, "a", "b")
    await emptied_database.execute(
        "INSERT INTO change_log (change_id, at, who, via, what, job_id, `before`, `after`, reason) VALUES "
        "('1', '2026-01-08 10:00:00', 'ann', 'api', 'pause', 'a', '{\"enabled\": true}', "
        "'{\"enabled\": false}', 'the <b>source</b> moves'), "
        "('2', '2026-01-08 11:00:00', 'unknown', 'sql', 'edit_schedule', 'b', NULL, NULL, NULL)"
    )
    async with serving(emptied_database) as client:
        everything = (await client.get("/changes")).text
        of_a = (await client.get("/changes", params={"job": "a"})).text
        job = (await client.get("/jobs/a")).text
    assert "ann" in everything
    assert "the &lt;b&gt;source&lt;/b&gt; moves" in everything
    assert "<del>true</del> <ins>false</ins>" in everything
    assert everything.index("edit schedule") < everything.index("pause"), "the newest is first"
    assert "edit schedule" not in of_a
    assert "ann" in of_a
    assert 'changes?job=a">Who changed what?' in job
