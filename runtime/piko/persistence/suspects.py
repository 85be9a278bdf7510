"""Single records that a working sink refused, and the rule for when a record is proven bad.

A refusal counts if it lies between two writes that the sink accepted; two refusals between the same two
writes count once. A write that fails while no other is accepted may fail because the sink is down. For the
same reason, an error that suggests an unavailable sink never replaces a more specific error of the same
record.
"""

from __future__ import annotations

from dataclasses import dataclass

from piko.persistence.delivery import WriteFailure
from piko.persistence.letter import Letter

_REMEMBERED = 10_000


@dataclass(slots=True)
class _Case:
    """How often a record was refused, how many writes the sink had accepted by then, and the last error."""

    refusal: WriteFailure
    times: int = 0
    accepted: int = -1


class Suspects:
    """Counts refusals of single records; `attempts` refusals are proof.

    The parameter `accepted` is the number of writes that the sink has accepted so far.
    """

    def __init__(self, *, attempts: int) -> None:
        self._attempts = attempts
        self._cases: dict[int, _Case] = {}

    def __contains__(self, letter: Letter) -> bool:
        return _key(letter) in self._cases

    def note(self, letter: Letter, refusal: WriteFailure, *, accepted: int) -> None:
        """Note that the sink refused `letter` when it was written alone."""
        if len(self._cases) >= _REMEMBERED:
            self._cases.clear()
        case = self._cases.setdefault(_key(letter), _Case(refusal))
        if case.refusal.away or not refusal.away:
            case.times += case.accepted < accepted
            case.refusal = refusal
        case.accepted = accepted

    def proof(self, letter: Letter, *, accepted: int) -> str | None:
        """The error of a record that is proven bad, once the sink has accepted a later write."""
        case = self._cases.get(_key(letter))
        proven = case is not None and case.times >= self._attempts and case.accepted < accepted
        return case.refusal.error if case is not None and proven else None

    def is_worth_retrying(self, letter: Letter, *, accepted: int) -> bool:
        """Whether the sink has accepted a write since it refused this record."""
        case = self._cases.get(_key(letter))
        return case is not None and case.accepted < accepted


def _key(letter: Letter) -> int:
    """A key that a letter keeps when it is read again from disk; ids there begin at 1."""
    return -id(letter) if letter.number is None else letter.number
