"""What a fallen session lock means, by table and by law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.leadership.failure_detector import FailureDetector
from piko.model.session_locks import Look, SeenLock, SessionLock

EPOCH = datetime(2026, 1, 8, 10, tzinfo=UTC)
GRACE_S = 0.3
HERE = "here"


def moment(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def lock_of(
    instance_id: str,
    *,
    held: bool,
    number: int = 1,
    beat_s: float = -5.0,
    server: str = "server",
    taken_s: float = -60.0,
) -> SeenLock:
    lock = SessionLock(
        name=f"{instance_id}-{number}", server=server, session_id=number, taken_at=moment(taken_s)
    )
    return SeenLock(
        instance_id=instance_id,
        lock=lock,
        heartbeat_at=moment(beat_s),
        held=held,
        leads=instance_id == "leader",
    )


def look(at_s: float, *locks: SeenLock, server_since_s: float = -3600.0) -> Look:
    return Look(at=moment(at_s), server="server", server_since=moment(server_since_s), locks=locks)


@dataclass
class Watched:
    """A detector and the looks that it is shown."""

    detector: FailureDetector = field(
        default_factory=lambda: FailureDetector(instance_id=HERE, grace_s=GRACE_S)
    )

    def see(self, at_s: float, *locks: SeenLock, trip_s: float = 0.0, since_s: float = -3600.0) -> list[str]:
        return self.detector.see(look(at_s, *locks, server_since_s=since_s), now=at_s, trip_s=trip_s)

    @property
    def dead(self) -> set[str]:
        return set(self.detector.presumed_dead)


@pytest.fixture
def watched() -> Watched:
    """Has seen two locks held."""
    made = Watched()
    made.see(0.0, lock_of("leader", held=True), lock_of("other", held=True))
    return made


def test_an_instance_is_presumed_dead_when_its_lock_has_been_free_for_the_grace(watched: Watched) -> None:
    assert watched.see(10.0, lock_of("leader", held=False)) == []
    assert watched.detector.suspects
    assert watched.see(10.2, lock_of("leader", held=False)) == []
    assert watched.see(10.3, lock_of("leader", held=False)) == ["leader"]
    assert not watched.detector.suspects
    assert watched.detector.presumed_dead == {"leader": moment(10.0)}, "since the first look at the free lock"
    assert watched.see(11.0, lock_of("leader", held=False)) == [], "it is news once"
    assert watched.dead == {"leader"}


ALIVE: dict[str, Sequence[SeenLock]] = {
    "holds it": [lock_of("leader", held=True)],
    "holds another": [lock_of("leader", held=True, number=2)],
    "has named another that is free already": [lock_of("leader", held=False, number=2)],
    "has beaten": [lock_of("leader", held=False, beat_s=10.25)],
    "has withdrawn it, or ended cleanly": [],
}


@pytest.mark.parametrize("sign", ALIVE.values(), ids=list(ALIVE))
def test_a_sign_of_life_within_the_grace_ends_the_suspicion(
    watched: Watched, sign: Sequence[SeenLock]
) -> None:
    watched.see(10.0, lock_of("leader", held=False))
    assert watched.see(10.3, *sign) == []
    assert watched.dead == set()


@pytest.mark.parametrize("sign", ALIVE.values(), ids=list(ALIVE))
def test_a_sign_of_life_after_the_grace_ends_the_presumption(
    watched: Watched, sign: Sequence[SeenLock]
) -> None:
    watched.see(10.0, lock_of("leader", held=False))
    watched.see(10.3, lock_of("leader", held=False))
    watched.see(12.0, *sign)
    assert watched.dead == set()


def test_the_grace_begins_again_with_each_beat(watched: Watched) -> None:
    watched.see(10.0, lock_of("leader", held=False))
    watched.see(10.25, lock_of("leader", held=False, beat_s=10.2))
    assert watched.see(10.5, lock_of("leader", held=False, beat_s=10.2)) == []
    assert watched.see(10.55, lock_of("leader", held=False, beat_s=10.2)) == ["leader"]


def test_over_a_slow_network_the_grace_is_longer(watched: Watched) -> None:
    watched.see(10.0, lock_of("leader", held=False), trip_s=0.5)
    assert watched.see(12.2, lock_of("leader", held=False), trip_s=0.5) == []
    assert watched.see(12.3, lock_of("leader", held=False), trip_s=0.5) == ["leader"]


def test_what_was_not_seen_held_means_nothing(watched: Watched) -> None:
    """Another server, or a newcomer that died before this replica looked."""
    for at_s in (1.0, 2.0, 60.0):
        assert watched.see(at_s, lock_of("unseen", held=False)) == []
    assert watched.dead == set()


def test_what_was_seen_on_a_session_that_broke_means_nothing(watched: Watched) -> None:
    watched.see(10.0, lock_of("leader", held=False))
    watched.detector.forget()
    for at_s in (11.0, 60.0):
        assert watched.see(at_s, lock_of("leader", held=False)) == []


@pytest.mark.parametrize(
    ("lock", "since_s", "dies"),
    [
        (lock_of("leader", held=False), -3600.0, True),
        (lock_of("leader", held=False, server="another"), -3600.0, False),
        (lock_of("leader", held=False), -30.0, False),
        (lock_of("leader", held=False, taken_s=-59.0), -60.0, False),
    ],
    ids=["the same server", "another server", "restarted since", "restarted at about that time"],
)
def test_a_process_that_starts_after_a_crash_believes_what_its_own_server_says(
    lock: SeenLock, since_s: float, dies: bool
) -> None:
    newcomer = Watched()
    newcomer.see(0.0, lock, since_s=since_s)
    newcomer.see(0.3, lock, since_s=since_s)
    assert newcomer.dead == ({"leader"} if dies else set())


def test_a_replica_never_presumes_itself_dead() -> None:
    watched = Watched()
    watched.see(0.0, lock_of(HERE, held=True))
    for at_s in (1.0, 2.0, 3.0):
        assert watched.see(at_s, lock_of(HERE, held=False)) == []
    assert not watched.detector.suspects


# ---- laws -------------------------------------------------------------------------------------------

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["free", "held", "replace", "beat", "withdraw", "break", "pass"]),
        st.floats(0.01, 0.4),
    ),
    max_size=30,
)


@given(_STEPS)
def test_nobody_is_presumed_dead_without_a_lock_that_was_held_and_then_free_and_silent_for_the_grace(
    steps: list[tuple[str, float]],
) -> None:
    """A simple oracle: the whole history of looks on this session is kept and searched."""
    watched, now = Watched(), 0.0
    watched.see(now)  # the first look shows nobody
    seen: list[tuple[float, SeenLock | None]] = []
    theirs: SeenLock | None = lock_of("leader", held=True)
    number = 1
    for what, pause_s in steps:
        now += pause_s
        if what == "break":
            watched.detector.forget()
            seen = []
        if what == "withdraw":
            theirs = None
        elif what == "replace" or theirs is None:
            number += 1
            theirs = lock_of("leader", held=True, number=number)
        elif what in ("free", "held"):
            theirs = replace(theirs, held=what == "held")
        elif what == "beat":
            theirs = replace(theirs, heartbeat_at=moment(now))
        watched.see(now, *([] if theirs is None else [theirs]))
        seen.append((now, theirs))
        assert watched.dead == ({"leader"} if _is_silent(seen) else set())


def _is_silent(seen: list[tuple[float, SeenLock | None]]) -> bool:
    now, last = seen[-1]
    if last is None or last.held:
        return False
    since, before = now, None
    for at_s, shown in reversed(seen):
        if shown != last:
            before = shown
            break
        since = at_s
    held_once = before is not None and any(
        shown is not None and shown.held and shown.lock == last.lock for _, shown in _unbroken(seen, last)
    )
    return held_once and now - since >= GRACE_S


def _unbroken(
    seen: list[tuple[float, SeenLock | None]], last: SeenLock
) -> list[tuple[float, SeenLock | None]]:
    """The looks at the end at which the instance named this lock."""
    found: list[tuple[float, SeenLock | None]] = []
    for at_s, shown in reversed(seen):
        if shown is None or shown.lock != last.lock:
            break
        found.append((at_s, shown))
    return found
