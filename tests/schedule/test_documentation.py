"""What `docs/reference/schedules.md` prints is what happens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from piko.errors import ScheduleError
from piko.schedule import parse_schedule
from tests.schedule.making import cron, schedule

_TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "schedules.md").read_text()
_ERRORS = _TEXT.split("```")[1].strip().splitlines()


@pytest.mark.parametrize("text", sorted(set(re.findall(r"`(\{\"[^`]+\})`", _TEXT))))
def test_every_expression_of_the_page_is_accepted(text: str) -> None:
    expression = json.loads(text)
    keys = set(expression)
    kind = "date" if keys == {"run_date"} else "interval" if keys & {"every", "seconds"} else "cron"
    schedule(kind, expression)


@pytest.mark.parametrize("text", sorted(set(re.findall(r"`([0-9*](?:[^\s`|]* ){4}[^\s`|]+)`", _TEXT))))
def test_every_cron_string_of_the_page_is_accepted(text: str) -> None:
    cron(text)


@pytest.mark.parametrize(
    ("name", "text"), re.findall(r"(`@\w+`(?: and `@\w+`)?)(?: is)? `([^`]+ [^`]+)`", _TEXT)
)
def test_every_name_of_the_page_means_what_it_says(name: str, text: str) -> None:
    for each in re.findall(r"@\w+", name):
        assert cron(each).fingerprint == cron(text).fingerprint


def test_the_errors_of_the_page_are_those_that_come() -> None:
    made = []
    for kind, text, zone in (
        ("cron", '"0 1,2,24 * * *"', "UTC"),
        ("cron", '{"hour": "1, 25"}', "UTC"),
        ("interval", '{"minutes": 0.5}', "UTC"),
        ("cron", "*/5 * * * *", "UTC"),
        ("cron", '"* * * * *"', "Asia/Shanghia"),
    ):
        with pytest.raises(ScheduleError) as raised:
            parse_schedule(job_id="job", schedule_type=kind, schedule_expr=text, timezone=zone)
        made.append(str(raised.value))
    assert made == _ERRORS
