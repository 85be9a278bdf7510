"""The rules of the Lease's record: by example, and as a law over replicas with clocks of their own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.leadership.record import LeaseRecord, Observation, held_by, object_name, record_of, released

NOW = datetime(2026, 1, 8, 10, 0, 0, tzinfo=UTC)


def read(spec: dict[str, Any], version: int = 1) -> LeaseRecord:
    return record_of({"metadata": {"resourceVersion": str(version)}, "spec": spec})


def test_a_takeover_counts_and_a_renewal_keeps_when_it_was_acquired() -> None:
    first = read(held_by("one", None, lease_s=15, now=NOW))
    assert (first.holder, first.duration_s, first.transitions) == ("one", 15, 0)
    renewed = read(held_by("one", first, lease_s=15, now=NOW + timedelta(seconds=2)))
    assert (renewed.acquired_at, renewed.transitions) == (first.acquired_at, 0)
    assert renewed.spec["renewTime"] != first.spec["renewTime"]
    taken = read(held_by("two", renewed, lease_s=15, now=NOW + timedelta(seconds=9)))
    assert (taken.holder, taken.transitions) == ("two", 1)
    assert taken.acquired_at != first.acquired_at
    given_up = read(released(taken, now=NOW))
    assert (given_up.holder, given_up.transitions) == (None, 1)
    assert read(held_by("two", given_up, lease_s=15, now=NOW)).transitions == 2


def test_times_are_written_with_microseconds_even_where_there_are_none() -> None:
    spec = held_by("one", None, lease_s=14.2, now=NOW)
    assert spec["renewTime"] == "2026-01-08T10:00:00.000000Z"
    assert spec["leaseDurationSeconds"] == 15


def test_a_record_expires_by_its_own_duration_from_when_its_last_change_was_seen() -> None:
    seen = Observation()
    record = read({"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "long ago"})
    seen.see(record, at=100)
    seen.see(record, at=110)
    assert not seen.may_be_taken(by="two", at=114.9)
    assert seen.may_be_taken(by="two", at=115)
    assert not seen.may_be_taken(by="two", at=None), "the patient wait for a renewal"
    assert seen.may_be_taken(by="one", at=100), "its own"
    seen.see(read({**record.spec, "renewTime": "a little later"}), at=112)
    assert not seen.may_be_taken(by="two", at=120)
    seen.see(read({"leaseDurationSeconds": 1}), at=121)
    assert seen.may_be_taken(by="two", at=121), "released"
    assert seen.may_be_taken(by="two", at=None), "nobody's silence is waited out"
    seen.see(None, at=122)
    assert seen.may_be_taken(by="two", at=122), "deleted"


@pytest.mark.parametrize(
    ("leader_name", "name"), [("default", "piko-default"), ("nightly-2", "piko-nightly-2")]
)
def test_names_that_fit_are_kept(leader_name: str, name: str) -> None:
    assert object_name(leader_name) == name


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_every_leader_name_has_a_valid_name_of_its_own(one: str, other: str) -> None:
    name = object_name(one)
    assert len(name) <= 63
    assert name.strip("-") == name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert (name == object_name(other)) == (one == other)


# ---- the law --------------------------------------------------------------------------------------


class Server:
    """The one record, changed by a caller that knows its version."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self._version = 0

    def write(self, before: LeaseRecord | None, spec: dict[str, Any]) -> bool:
        known = None if before is None else before.version
        if known != (None if self.record is None else self.record.version):
            return False
        self._version += 1
        self.record = read(spec, self._version)
        return True


class Replica:
    """Takes and renews by the rules, step by step; its clocks are off by any amount."""

    def __init__(
        self, name: str, server: Server, *, offset_s: float, wall_off_s: float, lease_s: int
    ) -> None:
        self.name = name
        self.acts_until = float("-inf")
        self._server = server
        self._offset_s = offset_s
        self._wall_off_s = wall_off_s
        self._lease_s = lease_s
        self._seen = Observation()
        self.now = 0.0

    def steps(self) -> Iterator[None]:
        while True:
            asked_at = self.now
            yield
            record = self._server.record
            yield
            self._seen.see(record, at=self.now + self._offset_s)
            if not self._seen.may_be_taken(by=self.name, at=self.now + self._offset_s):
                continue
            wall = NOW + timedelta(seconds=self.now + self._wall_off_s)
            spec = held_by(self.name, record, lease_s=self._lease_s, now=wall)
            yield
            written = self._server.write(record, spec)
            yield
            if written:
                self.acts_until = asked_at + self._lease_s * 2 / 3


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.integers(2, 5))
def test_whatever_the_clocks_and_the_delays_never_do_two_act(seed: int, number: int) -> None:
    chance = random.Random(seed)
    server = Server()
    replicas = [
        Replica(
            f"replica-{place}",
            server,
            offset_s=chance.uniform(-1e6, 1e6),
            wall_off_s=chance.uniform(-600, 600),
            lease_s=chance.choice((3, 15)),
        )
        for place in range(number)
    ]
    walks = [(replica, replica.steps()) for replica in replicas]
    now = 0.0
    for _ in range(400):
        now += chance.choice((0.0, 0.01, 0.3, chance.uniform(0, 8)))
        replica, walk = chance.choice(walks)
        replica.now = now
        next(walk)
        acting = [each.name for each in replicas if now < each.acts_until]
        assert len(acting) <= 1
        if chance.random() < 0.01 and acting:  # it stops answering for long
            walks = [pair for pair in walks if pair[0].name not in acting] or walks


def test_with_prompt_answers_somebody_leads_and_another_follows_when_it_is_gone() -> None:
    server = Server()
    replicas = [Replica(name, server, offset_s=0, wall_off_s=0, lease_s=15) for name in ("one", "two")]
    walks = [replica.steps() for replica in replicas]
    led = []
    for tick in range(2000):
        now = tick / 50
        for replica, walk in zip(replicas, walks, strict=True):
            if not (replica.name == "one" and now > 5):
                replica.now = now
                next(walk)
        led.append(next((each.name for each in replicas if now < each.acts_until), None))
    assert led[100] == "one"
    assert led[-1] == "two"
    assert led.index("two") / 50 <= 5 + 15 + 0.2
