"""Records that a sink refused alone while it worked, and when that is proof enough that they are bad.

A refusal counts where the sink has taken something since the one before: what fails again and again while
nothing else is taken may fail because the sink is down.
"""

from __future__ import annotations

from piko.persistence.letter import Letter

_REMEMBERED = 10_000


class Suspects:
    """Counts refusals of single records; `attempts` of them are proof.

    `taken` is always how many writes the sink has taken by then.
    """

    def __init__(self, *, attempts: int) -> None:
        self._attempts = attempts
        self._refusals: dict[int, tuple[int, int]] = {}
        """How often each was refused, and what the sink had taken by the last time."""

    def __contains__(self, letter: Letter) -> bool:
        return _key(letter) in self._refusals

    def convicts(self, letter: Letter, *, taken: int) -> bool:
        """Note that the sink refused `letter` alone; True where that is proof enough."""
        if len(self._refusals) >= _REMEMBERED:
            self._refusals.clear()
        times, before = self._refusals.get(_key(letter), (0, -1))
        if before < taken:
            times += 1
            self._refusals[_key(letter)] = times, taken
        return times >= self._attempts

    def may_tell_more(self, letter: Letter, *, taken: int) -> bool:
        """Whether the sink has taken something since it refused this one alone."""
        return self._refusals.get(_key(letter), (0, taken))[1] < taken


def _key(letter: Letter) -> int:
    """The same for a letter that was read again; numbers begin at 1."""
    return -id(letter) if letter.number is None else letter.number
