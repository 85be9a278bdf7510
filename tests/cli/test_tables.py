"""Tables can be read at any width, and hold every name whole."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.tables import Row, ago, shown, table_lines
from piko.text import span
from tests.schedule.making import utc

COLUMNS = ("JOB", "STATUS", "LAST", "NEXT", "SCHEDULE")
LONG = "load.customers-" * 8 + "12345678"

_names = st.text("abcxyz0123456789_.:-", min_size=1, max_size=128)
_rows = st.lists(
    st.tuples(
        _names,
        st.sampled_from(["Scheduled", "WaitingForConfig", "Invalid"]),
        st.sampled_from(["SUCCESS 3m ago", "CANCELLED 119m ago", ""]),
        st.sampled_from(["in 12s", "due 3m ago", ""]),
        st.sampled_from(
            ["*/5 * * * *", "day of week mon-fri, hour 3, minute 30, second 15", "データ 每5分钟"]
        ),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200)
@given(rows=_rows, width=st.sampled_from([80, 120, 200]) | st.integers(60, 250))
def test_no_name_is_cut_and_no_line_but_a_name_is_too_long(rows: list[tuple[str, ...]], width: int) -> None:
    note = "its model has required fields and no config is in force: write one to job_config " * 2
    table = [Row(cells=row, notes=[note]) for row in rows]
    lines = list(table_lines(COLUMNS, table, shorten=["SCHEDULE"], width=width))
    words = " ".join(lines).split()
    for name, status, last, *_ in rows:
        assert name in words
        assert status in words
        assert last in " ".join(lines)
    names = {name for name, *_ in rows}
    assert [line for line in lines if len(line) > width and line not in names] == []
    assert words.count("job_config") == 2 * len(rows), "what repairs a matter is reported whole"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_long_name_has_a_line_of_its_own_and_costs_the_others_nothing(width: int) -> None:
    rows = [
        Row(cells=("sync", "Scheduled", "SUCCESS 3m ago", "in 12s", "*/5 * * * *")),
        Row(cells=(LONG, "Scheduled", "SUCCESS 3m ago", "in 12s", "*/5 * * * *"), notes=["late"]),
    ]
    lines = list(table_lines(COLUMNS, rows, shorten=["SCHEDULE"], width=width))
    assert len(LONG) == 128
    if width == 200:
        assert len(lines) == 4
        assert lines[2].startswith(f"{LONG}  Scheduled")
    else:
        assert lines == [
            "JOB   STATUS     LAST            NEXT    SCHEDULE",
            "sync  Scheduled  SUCCESS 3m ago  in 12s  */5 * * * *",
            LONG,
            "      Scheduled  SUCCESS 3m ago  in 12s  */5 * * * *",
            "  late",
        ]


def test_texts_for_reading_are_shortened_and_a_pipe_gets_them_whole() -> None:
    row = Row(cells=("a" * 40, "WaitingForConfig", "SUCCESS 3m ago", "", "minute 30, second 15, hour 3"))
    (_, fitted) = table_lines(COLUMNS, [row], shorten=["SCHEDULE"], width=92)
    assert fitted.endswith("  minute 30, seco…")
    (_, whole) = table_lines(COLUMNS, [row], shorten=["SCHEDULE"], width=None)
    assert whole.endswith("minute 30, second 15, hour 3")
    assert re.sub(r" {2,}", "|", whole).count("|") == 3, "a column that says nothing is left out"


def test_a_cell_is_one_line_and_moves_no_cursor() -> None:
    assert shown("a\x1b[2Jb\r\nc\td\x00") == "a [2Jb  c d"
    assert shown(None) == ""


def test_spans_are_one_unit() -> None:
    seconds = (0.4, 1, 119, 120, 7199, 7200, 172_799, 172_800, 31_536_000)
    assert [span(item) for item in seconds] == ["0s", "1s", "119s", "2m", "120m", "2h", "48h", "2d", "365d"]
    now = utc("2026-01-08T10:00:00")
    assert ago(utc("2026-01-08T09:57:00"), now) == "3m ago"
    assert ago(utc("2026-01-08T10:00:12"), now) == "in 12s"
    assert ago(None, now) == ""
