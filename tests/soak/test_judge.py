"""The judge misses nothing that it is there for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.soak.judge import Begun, Row, Rules, violations

T0 = datetime(2026, 1, 8)  # noqa: DTZ001 - as it is stored
SECOND = timedelta(seconds=1)
RULES = {"job": Rules(grid=SECOND), "windows": Rules(grid=SECOND, stateful=True)}


def row(number: int, state: str = "SUCCESS", **values: object) -> Row:
    made = Row("job", T0 + number * SECOND, f"run-{number}", 1, state)
    return replace(made, **values)  # type: ignore[arg-type]


def note(number: int, **values: object) -> Begun:
    at = float(number)
    made = Begun("job", T0 + number * SECOND, f"run-{number}", 1, at, 1, None, at + 0.5, True)
    return replace(made, **values)  # type: ignore[arg-type]


def window_row(number: int, state: str = "SUCCESS", **values: object) -> Row:
    start = T0 + number * SECOND
    made = Row("windows", start + SECOND, f"w-{number}", 1, state, None, start, start + SECOND)
    return replace(made, **values)  # type: ignore[arg-type]


def window_note(number: int, **values: object) -> Begun:
    start, at = T0 + number * SECOND, float(number)
    made = Begun("windows", start + SECOND, f"w-{number}", 1, at, 1, start, at + 0.5, True)
    return replace(made, **values)  # type: ignore[arg-type]


ROWS = [row(0), row(1), row(2), window_row(0), window_row(1), window_row(2)]
NOTES = [note(0), note(1), note(2), window_note(0), window_note(1), window_note(2)]


def test_what_is_as_promised_passes() -> None:
    assert violations(RULES, ROWS, NOTES) == []


def test_failures_that_are_recorded_pass() -> None:
    rows = [
        row(0, "LOST"),
        row(0, run_id="again", attempt=2),
        row(1, "MISSED", through=T0 + 4 * SECOND),
        row(5),
        *ROWS[3:],
    ]
    notes = [
        note(0, ended_at=None, succeeded=False),
        note(0, run_id="again", attempt=2, at=3.0, ended_at=3.5),
    ]
    assert violations(RULES, rows, [*notes, note(5), *NOTES[3:]]) == []


LATE = {"at": 9.0, "ended_at": 9.5}
BY_MORE = note(2, run_id="more", attempt=2, **LATE)
AGAIN = window_note(1, run_id="more", **LATE)
EARLY = window_note(2, at=1.2, ended_at=9.0)


@pytest.mark.parametrize(
    ("rows", "notes", "what"),
    [
        ([row(0), row(2), *ROWS[3:]], [note(0), note(2), *NOTES[3:]], "nothing is recorded between"),
        ([*ROWS, row(3, "RUNNING")], NOTES, "stuck in RUNNING"),
        ([*ROWS, row(3, "QUEUED")], NOTES, "stuck in QUEUED"),
        ([*ROWS, row(3, "LOST", may_have_begun=False)], NOTES, "cannot have begun and is recorded as LOST"),
        (ROWS, [*NOTES, note(2, **LATE)], "began twice"),
        (ROWS, [*NOTES, note(2, run_id="unknown", **LATE)], "has no row"),
        (ROWS, NOTES[1:], "no handler says so"),
        (ROWS, [note(0, succeeded=False), *NOTES[1:]], "failed and is recorded as SUCCESS"),
        ([*ROWS, row(2, run_id="more", attempt=2)], [*NOTES, BY_MORE], "succeeded more than once"),
        ([*ROWS, row(2, "LOST", run_id="more")], NOTES, "one attempt has several runs"),
        (ROWS, [note(0, ended_at=1.2), *NOTES[1:]], "ran at the same time"),
        ([*ROWS[:4], ROWS[5]], [*NOTES[:4], NOTES[5]], "there is a gap"),
        ([*ROWS, window_row(1, run_id="more")], [*NOTES, AGAIN], "succeeded 2 times, and could 1"),
        (ROWS, [*NOTES[:5], EARLY], "began before the one before it succeeded"),
        (ROWS[:3], NOTES[:3], "windows: it never ran"),
        ([*ROWS, row(3, "SKIPPED")], [*NOTES, note(3)], "ran and is recorded as SKIPPED"),
        ([row(0, "FAILED"), *ROWS[1:]], NOTES, "succeeded and is recorded as FAILED"),
    ],
)
def test_each_violation_is_reported(rows: list[Row], notes: list[Begun], what: str) -> None:
    reported = violations(RULES, rows, notes)
    assert any(what in text for text in reported), reported


def test_a_watermark_that_was_set_back_lets_windows_run_again() -> None:
    rows = [*ROWS, window_row(1, run_id="more"), window_row(2, run_id="most")]
    notes = [
        *NOTES,
        window_note(1, run_id="more", at=9.0, ended_at=9.5),
        window_note(2, run_id="most", at=10.0, ended_at=10.5),
    ]
    assert violations(RULES, rows, notes) != []
    assert violations(RULES, rows, notes, set_back=[("windows", T0 + SECOND)]) == []


@pytest.mark.parametrize(
    ("span", "what"),
    [((0, 2.5), None), ((-1.5, 2.5), "from 2026-01-07 23:59:58.5"), ((0, 4), "nothing is recorded from")],
)
def test_history_begins_with_the_rows_of_schedules_and_goes_on_to_the_end(
    span: tuple[float, float], what: str | None
) -> None:
    reported = violations(
        {"job": RULES["job"]}, ROWS[:3], NOTES[:3], span=(T0 + span[0] * SECOND, T0 + span[1] * SECOND)
    )
    assert [what is not None and what in text for text in reported] == ([] if what is None else [True]), (
        reported
    )
