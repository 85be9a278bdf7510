"""How long a part leaves the database alone after a look at it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from piko.background.rest import Rest

_SECONDS = st.floats(0, 1e6)


def test_a_rest_is_a_multiple_of_what_went_before() -> None:
    assert Rest(times=3.0).after_s(0.5) == 1.5


@given(st.floats(0, 100), _SECONDS, _SECONDS, _SECONDS)
def test_a_rest_keeps_its_bounds_however_long_the_work_took(
    times: float, one: float, other: float, took: float
) -> None:
    least, longest = sorted((one, other))
    assert least <= Rest(times=times, least_s=least, longest_s=longest).after_s(took) <= longest


@given(st.floats(0, 100), _SECONDS, _SECONDS)
def test_after_longer_work_a_rest_is_no_shorter(times: float, one: float, other: float) -> None:
    shorter, longer = sorted((one, other))
    rest = Rest(times=times, least_s=0.1, longest_s=60.0)
    assert rest.after_s(shorter) <= rest.after_s(longer)
