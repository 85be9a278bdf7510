"""Which runs begin in one process, where every replica runs what is due."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from piko.execution.replica_slots import ReplicaSlots
from tests.scheduler.making import NOON

LATER = NOON + timedelta(seconds=1)


class Replica:
    """Slots, and what takes from them."""

    def __init__(self, *, most: int = 10, replicas: int = 1) -> None:
        self.running = 0
        self.full = False
        self.claiming: set[str] = set()
        self.slots = ReplicaSlots(
            most=most, running=lambda: self.running, full=lambda: self.full, claiming=self.claiming
        )
        self.slots.replicas = replicas

    def keeps(self, count: int) -> int:
        """How many of `count` runs that are claimed together begin here."""
        return sum(self.slots.keeps(NOON) for _ in range(count))


def test_a_replica_alone_keeps_what_it_has_slots_for() -> None:
    assert Replica().keeps(7) == 7
    assert Replica().keeps(70) == 10


def test_of_three_replicas_the_leader_keeps_a_third() -> None:
    assert Replica(most=1000, replicas=3).keeps(300) == 100


def test_few_runs_are_not_shared() -> None:
    replica = Replica(replicas=4)
    assert replica.keeps(3) == 3
    assert replica.slots.keeps(LATER), "nor are those of the next claim"


def test_a_leader_with_runs_in_progress_does_not_collect_more_one_by_one() -> None:
    replica = Replica(most=100, replicas=2)
    replica.running = 3
    assert not replica.slots.keeps(NOON)
    assert not replica.slots.keeps(LATER), "each claim is of one run"
    alone = Replica(most=100)
    alone.running = 3
    assert alone.slots.keeps(NOON), "where there is another"


def test_what_a_leader_has_kept_counts_as_fetched() -> None:
    replica = Replica(most=100, replicas=2)
    assert replica.keeps(10) == 5
    assert replica.slots.share_of(5) == 0, "the others come first"
    assert replica.slots.share_of(5) == 3, "and it takes what they leave"


def test_a_leader_that_is_behind_leaves_runs_to_the_others() -> None:
    replica = Replica(replicas=2)
    replica.slots.behind = True
    assert replica.keeps(5) == 0
    replica.slots.replicas = 1
    assert replica.keeps(5) == 5, "if there are any"


def test_what_waits_for_slots_comes_before_what_is_claimed() -> None:
    replica = Replica()
    replica.slots.short = True
    assert replica.keeps(3) == 0


def test_nothing_is_kept_while_no_further_end_could_be_written() -> None:
    replica = Replica()
    replica.full = True
    assert replica.keeps(3) == 0
    assert not replica.slots.idle


def test_the_ends_of_runs_are_no_reason_to_fetch_unless_others_wait_for_slots() -> None:
    replica = Replica(most=100)
    replica.running = 99
    replica.slots.ended()
    assert not replica.slots.wanted.is_set()

    replica.slots.short = True
    replica.slots.ended()
    assert not replica.slots.wanted.is_set(), "one slot is not worth a transaction"
    replica.running = 90
    replica.slots.ended()
    assert replica.slots.wanted.is_set()


@given(
    most=st.integers(1, 50),
    running=st.integers(0, 50),
    claiming=st.integers(0, 50),
    fetching=st.integers(0, 50),
    asked=st.integers(0, 200),
    replicas=st.integers(1, 4),
)
def test_no_more_begin_than_there_are_slots(
    most: int, running: int, claiming: int, fetching: int, asked: int, replicas: int
) -> None:
    replica = Replica(most=most, replicas=replicas)
    replica.running = running
    replica.claiming.update(str(number) for number in range(claiming))
    replica.slots.fetching = fetching
    assert replica.keeps(asked) <= max(most - running - claiming - fetching, 0)
