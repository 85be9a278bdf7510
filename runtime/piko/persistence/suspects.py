"""Records that a sink refused alone while it worked, and when that is proof enough that they are bad.

A refusal counts that lies between two writes that the sink took, and two refusals between the same two count
once: what fails while nothing else is taken may fail because the sink is down. For the same reason an error
such as a sink raises that is away says nothing of a record of which the sink has said something else.
"""

from __future__ import annotations

from dataclasses import dataclass

from piko.persistence.delivery import WriteFailure
from piko.persistence.letter import Letter

_REMEMBERED = 10_000


@dataclass(slots=True)
class _Case:
    """How often a record was refused, what the sink had taken by the last time, and what it said."""

    refusal: WriteFailure
    times: int = 0
    taken: int = -1


class Suspects:
    """Counts refusals of single records; `attempts` of them are proof.

    `taken` is always how many writes the sink has taken by then.
    """

    def __init__(self, *, attempts: int) -> None:
        self._attempts = attempts
        self._cases: dict[int, _Case] = {}

    def __contains__(self, letter: Letter) -> bool:
        return _key(letter) in self._cases

    def note(self, letter: Letter, refusal: WriteFailure, *, taken: int) -> None:
        """The sink has refused `letter` alone."""
        if len(self._cases) >= _REMEMBERED:
            self._cases.clear()
        case = self._cases.setdefault(_key(letter), _Case(refusal))
        if case.refusal.away or not refusal.away:
            case.times += case.taken < taken
            case.refusal = refusal
        case.taken = taken

    def proof(self, letter: Letter, *, taken: int) -> str | None:
        """The error of a record that was refused often enough, once the sink has taken another after that."""
        case = self._cases.get(_key(letter))
        proven = case is not None and case.times >= self._attempts and case.taken < taken
        return case.refusal.error if case is not None and proven else None

    def may_tell_more(self, letter: Letter, *, taken: int) -> bool:
        """Whether the sink has taken something since it refused this one alone."""
        case = self._cases.get(_key(letter))
        return case is not None and case.taken < taken


def _key(letter: Letter) -> int:
    """The same for a letter that was read again; numbers begin at 1."""
    return -id(letter) if letter.number is None else letter.number
