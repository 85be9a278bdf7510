"""A schedule on one line: the same text for the same schedule, by whichever way it was written."""

from __future__ import annotations

import pytest

from piko.schedule.one_line import LONGEST_LINE, schedule_line


@pytest.mark.parametrize(
    ("kind", "expressions", "line"),
    [
        (
            "interval",
            ['{"seconds": 5}', '{"every": "5s"}', '{"every":"5000ms"}', '{"seconds":5.0}'],
            "every 5s",
        ),
        ("interval", ['{"minutes": 90}', '{"every": "1h30m"}', '{"hours": 1, "minutes": 30}'], "every 1h30m"),
        ("interval", ['{"days": 7}', '{"weeks": 1}', '{"every": "168h"}'], "every 7d"),
        ("interval", ['{"seconds": 0.5}', '{"every": "500ms"}'], "every 500ms"),
        ("interval", ['{"seconds": 1.5}', '{"every": "1500ms"}'], "every 1.5s"),
        ("interval", ['{"seconds": 0.100001}'], "every 0.100001s"),
        (
            "interval",
            ['{"start_date": "2026-01-01", "seconds": 5}', '{"every": "5s", "start_date": "2026-01-01"}'],
            "every 5s, start date 2026-01-01",
        ),
        ("cron", ['"*/5 * * * *"', '{"cron": "*/5 * * * *"}', '" */5 * * * * "'], "*/5 * * * *"),
        (
            "cron",
            [
                '{"minute": 30, "hour": 3, "day_of_week": "mon-fri"}',
                '{"day_of_week":"mon-fri","hour":3,"minute":30}',
            ],
            "day of week mon-fri, hour 3, minute 30",
        ),
        ("date", ['{"run_date": "2026-01-08 10:00:00"}'], "run date 2026-01-08 10:00:00"),
    ],
)
def test_the_same_schedule_has_the_same_line(kind: str, expressions: list[str], line: str) -> None:
    assert {schedule_line(kind, expression) for expression in expressions} == {line}


@pytest.mark.parametrize(
    ("kind", "expression", "line"),
    [
        ("cron", "*/5 * * * *", "cron */5 * * * *"),
        ("interval", "[5]", "interval [5]"),
        ("interval", '{"seconds": NaN}', "seconds NaN"),
        ("interval", '{"seconds": -5}', "seconds -5"),
        ("interval", '{"every": "soon"}', "every soon"),
        ("interval", '{"seconds": 5, "every": "5s"}', "every 5s, seconds 5"),
        ("interval", '{"seconds": 1e99999999999999999999}', 'interval {"seconds": 1e99999999999999999999}'),
        ("cron", "[" * 3000, f"cron {'[' * 3000}"[:LONGEST_LINE]),
        ("cron", f'"{"1," * 3000}"', ("1," * 3000)[:LONGEST_LINE]),
    ],
)
def test_what_is_no_schedule_is_shown_as_it_was_written(kind: str, expression: str, line: str) -> None:
    assert schedule_line(kind, expression) == line
