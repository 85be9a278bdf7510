"""The witness reports what cannot be, and nothing else."""

from __future__ import annotations

from tests.soak.witness import IDLE_S, Said, untruths

LEADER, STANDBY, UNREADY, SILENT = (200, "leader"), (200, "standby"), (503, "stopping"), (0, "")


def reported(replica: str, *answers: tuple[int, str], at: float = 0.0) -> list[Said]:
    """An answer each second, given 0.1 s after it was asked for."""
    return [
        Said(replica, at + number, at + number + 0.1, status, text)
        for number, (status, text) in enumerate(answers)
    ]


STARTS = [number / 2 for number in range(200)]


def test_a_change_of_leader_is_no_contradiction() -> None:
    one = reported("one", LEADER, LEADER, LEADER, SILENT, UNREADY, STANDBY, STANDBY)
    two = reported("two", STANDBY, STANDBY, STANDBY, STANDBY, LEADER, LEADER, LEADER, at=0.05)
    assert untruths([*one, *two], STARTS) == []


def test_answers_that_may_have_followed_each_other_are_none_either() -> None:
    one = reported("one", LEADER, LEADER, UNREADY)
    two = reported("two", STANDBY, LEADER, LEADER, at=0.05)
    assert untruths([*one, *two], STARTS) == []


def test_two_that_say_at_once_that_they_lead_are_reported() -> None:
    one = reported("one", LEADER, LEADER, LEADER, LEADER)
    two = reported("two", SILENT, LEADER, SILENT, STANDBY, at=0.5)
    (text,) = untruths([*one, *two], STARTS)
    assert "two said at 1.6 that it leads, as one did then" in text


def test_a_leader_that_begins_nothing_is_reported() -> None:
    answers = reported("one", *[LEADER] * int(IDLE_S + 10))
    assert untruths(answers, STARTS) == []
    (text,) = untruths(answers, [at for at in STARTS if at < 5])
    assert "began nothing" in text
    assert untruths(reported("one", *[UNREADY] * int(IDLE_S + 10)), []) == [], "it does not say that it leads"
