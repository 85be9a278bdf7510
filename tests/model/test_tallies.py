from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from piko.model.digests import Digest, RunningTally, Tally

_DIGESTS = st.tuples(st.integers(0, 2**40), st.datetimes(timezones=st.just(UTC)))
_TABLES = st.dictionaries(st.text("abc:", min_size=1, max_size=6), _DIGESTS, max_size=8)


def tally_of(table: dict[str, Digest]) -> Tally:
    return reduce(lambda tally, row: tally.with_row(*row), table.items(), Tally())


@given(before=_TABLES, after=_TABLES)
@settings(deadline=None)
def test_a_tally_that_follows_each_change_is_that_of_the_table(
    before: dict[str, Digest], after: dict[str, Digest]
) -> None:
    tally = tally_of(before)
    for row in before.items():
        tally = tally.without_row(*row)
    for row in after.items():
        tally = tally.with_row(*row)

    assert tally == tally_of(after)


@given(before=_TABLES, after=_TABLES)
@settings(deadline=None)
def test_a_running_tally_is_that_of_the_rows_that_are_left(
    before: dict[str, Digest], after: dict[str, Digest]
) -> None:
    running = RunningTally()
    for row in [*before.items(), *after.items()]:
        running.put(*row)
    for row in before.items():
        running.drop(*row)

    assert running.now == tally_of(after)


def test_a_checksum_tells_tables_apart_that_have_the_same_versions() -> None:
    one = Tally().with_row("a", (1, datetime(2026, 1, 1, tzinfo=UTC)))
    other = Tally().with_row("a", (1, datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)))

    assert not one.equals(other)
    assert one.equals(Tally(rows=1, versions=1, checksum=None)), "a checksum that was not asked for"
