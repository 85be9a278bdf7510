"""How long before its due time a run is claimed."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from piko.scheduler.horizon import Horizon
from tests.leadership.clocks import MovableClock

SECONDS = st.floats(0, 60)


def horizon(*rounds: float, poll: float = 1.0, clock: MovableClock | None = None) -> Horizon:
    made = Horizon(poll_interval_s=poll, clock=clock or MovableClock())
    for took in rounds:
        made.took(took)
    return made


@given(rounds=st.lists(SECONDS, max_size=5), lead=SECONDS, poll=st.floats(0.1, 60))
def test_it_stays_below_the_poll_interval_unless_rounds_take_longer(
    rounds: list[float], lead: float, poll: float
) -> None:
    ahead = horizon(*rounds, poll=poll).ahead(start_lead_s=lead)
    assert timedelta(0) < ahead <= timedelta(seconds=30)
    if 2 * max(rounds, default=0.0) <= poll:
        assert ahead <= timedelta(seconds=poll)


def test_it_follows_the_longest_round_of_late() -> None:
    made = horizon(0.02, 0.3, 0.02)
    assert timedelta(seconds=0.69) < made.ahead(start_lead_s=0.1) <= timedelta(seconds=0.7)


def test_a_long_round_is_forgotten_in_time() -> None:
    clock = MovableClock()
    made = horizon(0.4, clock=clock)
    before = made.ahead(start_lead_s=0.05)
    clock.ahead_s += 60
    made.took(0.01)
    assert made.ahead(start_lead_s=0.05) < before


def test_a_database_that_is_slower_than_the_poll_interval_is_met_all_the_same() -> None:
    assert horizon(3.0).ahead(start_lead_s=2.0) > timedelta(seconds=7.9)
