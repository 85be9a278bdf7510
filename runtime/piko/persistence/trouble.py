"""A sink that fails: whose fault is it?

Nobody can tell from an exception whether a sink is down or a record is bad. What can be told is what the sink
takes beside it. So a batch that keeps failing is set aside, and what is behind it is tried. While nothing is
taken, it is the sink that is down: everything is kept, and the tries grow rarer. What is taken shows that the
sink works; then what was set aside is tried again, and what fails is halved until single records are left.

A record is bad when the sink has refused it alone `attempts` times, each time between two others that it
took. So whatever the sink takes is evidence on all suspects, and they are tried again at once: of a batch
that holds both kinds, the good records convict the bad ones, and nothing else need arrive. Where nothing else
is there to write, further refusals after pauses have to do, for some records each time that the sink has
taken something, and not where the errors are such as a sink raises that is away. After each failure a batch
from behind is tried, so that what is found out of some holds up no others.

A sink that knows that a record does not fit says so with a `PayloadError`: it needs no proof.

What is set aside lies on disk; here is only where. What no disk takes is kept in memory, as much as a queue
may hold.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from piko.background.waiting import happens
from piko.observability.logs import get_logger
from piko.persistence.delivery import Delivery, WriteFailure
from piko.persistence.letter import Letter, facts
from piko.persistence.queue import SinkQueue
from piko.persistence.sink_base import ResultSink
from piko.persistence.suspects import Suspects

_IN_A_ROW = 64
"""Failures with nothing taken in between, after which the sink may well be down."""
_UNPROVEN = 40
"""Bad records that are buried after the sink has taken something, while nothing else shows that it works."""
_SAMPLES = 8

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Span:
    """Letters that are set aside on disk: what is left there from one number through another."""

    first: int
    last: int


Part = _Span | list[Letter]


class Trouble:
    """From the first failed write until nothing of it is left; `secure` puts on disk what disks take."""

    def __init__(
        self,
        sink: ResultSink,
        *,
        delivery: Delivery,
        queue: SinkQueue,
        secure: Callable[[Sequence[Letter]], Awaitable[None]],
        hurried: asyncio.Event,
    ) -> None:
        self._sink = sink
        self._delivery = delivery
        self._queue = queue
        self._secure = secure
        self._hurried = hurried
        self._aside: deque[Part] = deque()
        self._unfit: deque[Part] = deque()
        """Set aside because the sink knows that some of it does not fit."""
        self._pause = sink.backoff_s
        self._works = False
        """Whether the sink has taken something, and little has been found out since."""
        self._taken = 0
        self._in_a_row = 0
        self._others_fail = False
        """Whether what is behind was the last to be tried, and failed, too."""
        self._hangs = False
        """Whether the oldest did not fail, but took too long."""
        self._suspects = Suspects(attempts=sink.attempts)
        self._away = False
        """Whether the last failure was such as a sink raises that is away."""
        self._turn = 0
        self._part, self._offset = 0, 0
        """How far the search in what is set aside has come: the part, and the letter of it."""

    async def overcome(self, batch: list[Letter], refusal: WriteFailure) -> None:
        """Return when `batch`, and all that was set aside behind it, is delivered or buried."""
        tries = 1
        while not refusal.of_record and tries < self._sink.attempts:
            self._tell(batch, refusal, tries)
            await self._rest()
            again = await self._try(batch)
            if again is None:
                return
            refusal, tries = again, tries + 1
        if refusal.of_record:
            await self._sift(batch)
        else:
            self._tell(batch, refusal, tries)
            self._set_aside(batch)
        while self._aside or self._unfit:
            await self._secure([])
            while self._unfit:
                await self._sift(await self._load(self._unfit.popleft()))
            if self._aside and not self._works:
                await self._look()
            if self._works:
                await self._sift_all()
            if self._aside:
                await self._rest(heeding_arrivals=not self._others_fail)

    # ---- while nothing is known of the sink -------------------------------------------------------

    async def _look(self) -> None:
        """Find anything that the sink takes.

        The oldest comes first, and right after it what is behind: what ends an outage in between is rare, and
        so the order stays.
        """
        self._turn += 1
        others = await self._next_others()
        spared = self._hangs and bool(others) and not self._others_fail
        if not spared and await self._try_oldest():
            self._set_aside(others)
            return
        if await (self._try_others(others) if others else self._try_another()) or self._unfit:
            return
        if _is_rare(self._turn):
            waiting, error = self._delivery.waiting, self._delivery.failing
            log.warning("sink_still_fails", sink=self._sink.name, waiting=waiting, error=error)
        if self._aside and (_is_rare(self._turn) or not self._away):
            await self._search()

    async def _search(self) -> None:
        """Try the halves of a part and some of its letters alone, others at each turn, and all in the end.

        So a good record is found wherever it lies among bad ones.
        """
        self._part %= len(self._aside)
        letters = await self._load(self._aside[self._part])
        for piece in _samples(letters, self._offset):
            if await self._try(piece) is None:
                return
        self._offset += _SAMPLES
        if self._offset >= len(letters):
            self._part, self._offset = self._part + 1, 0

    async def _try_oldest(self) -> bool:
        """Try what was set aside first; True where the sink takes it."""
        letters = await self._load(self._aside[0])
        refusal = await self._try(letters) if letters else None
        self._hangs = refusal is not None and refusal.timed_out
        if refusal is not None and not refusal.of_record:
            return False
        part = self._aside.popleft()
        if refusal is not None:
            self._unfit.append(part)
        return self._works

    async def _try_another(self) -> bool:
        """Where nothing is behind, try something else that was set aside; True where the sink takes it."""
        if len(self._aside) < 2:
            return False
        letters = await self._load(self._aside[1 + self._turn % (len(self._aside) - 1)])
        return bool(letters) and await self._try(letters) is None

    async def _next_others(self) -> list[Letter]:
        """A batch from behind, on disk."""
        if len(self._delivery.loose) >= self._sink.queue_size or not len(self._queue):
            return []
        batch = await self._delivery.patiently(self._queue.next)
        await self._secure(batch)
        return batch

    async def _try_others(self, batch: list[Letter]) -> bool:
        """True where the sink takes it."""
        refusal = await self._try(batch) if batch else None
        if refusal is None:
            return bool(batch)
        if refusal.of_record:
            self._unfit.extend(_parts(batch))
        else:
            self._set_aside(batch)
            self._others_fail = True
        return False

    # ---- while the sink works ----------------------------------------------------------------------

    async def _sift_all(self) -> None:
        """Go through what is set aside for as long as that shows anything new."""
        taken = -1
        while self._aside and self._works and taken < self._taken:
            taken = self._taken
            for _ in range(len(self._aside)):
                await self._sift(await self._load(self._aside.popleft()))
                if not self._works:
                    return
        self._works = False

    async def _sift(self, letters: list[Letter]) -> None:
        """Deliver of `letters` what the sink takes, bury what it refuses; what stays unknown is set aside."""
        fresh = [letter for letter in letters if letter not in self._suspects]
        pieces = deque([fresh] if fresh else [])
        suspects = await self._try_again([letter for letter in letters if letter in self._suspects])
        while pieces and self._in_a_row < _IN_A_ROW:
            piece, taken = pieces.popleft(), self._taken
            refusal = await self._try(piece)
            if refusal is not None and len(piece) > 1:
                half = len(piece) // 2
                pieces.extendleft((piece[half:], piece[:half]))
            elif refusal is not None:
                suspects.extend(await self._suspected(piece[0], refusal))
            if refusal is not None and not refusal.of_record:
                await self._try_others(await self._next_others())
            if taken < self._taken:
                suspects = await self._try_again(suspects)
        if pieces:
            self._works = False
        if suspects and self._works and not len(self._queue) and not self._others_fail:
            suspects = await self._second_look(suspects[:_UNPROVEN]) + suspects[_UNPROVEN:]
        self._set_aside([*suspects, *(letter for piece in pieces for letter in piece)])

    async def _suspected(self, letter: Letter, refusal: WriteFailure) -> list[Letter]:
        """Note that the sink refused `letter` alone; none where it knows by itself that it does not fit."""
        if refusal.of_record:
            await self._delivery.bury([(letter, refusal.error)])
            return []
        if self._works:
            self._suspects.note(letter, refusal, taken=self._taken)
        return [letter]

    async def _try_again(self, suspects: list[Letter]) -> list[Letter]:
        """Bury what is proven; try alone what may tell more, a bounded number; the suspects that are left."""
        errors = [(letter, self._suspects.proof(letter, taken=self._taken)) for letter in suspects]
        await self._delivery.bury([(letter, error) for letter, error in errors if error is not None])
        left: list[Letter] = []
        tries = 0
        for letter, _ in (each for each in errors if each[1] is None):
            if tries >= _IN_A_ROW or not self._suspects.may_tell_more(letter, taken=self._taken):
                left.append(letter)
                continue
            tries += 1
            refusal = await self._try([letter], known=True)
            if refusal is not None:
                left.extend(await self._suspected(letter, refusal))
                await self._try_others(await self._next_others())
        return left

    async def _second_look(self, once: list[Letter]) -> list[Letter]:
        """Where nothing else can show that the sink works: try again and again, then bury what it refuses.

        What is left is for others to decide, that have arrived meanwhile or will.
        """
        refused: list[tuple[Letter, WriteFailure]] = []
        for _ in range(self._sink.attempts):
            await self._rest(heeding_arrivals=True)
            if len(self._queue):
                return once
            tries = [(letter, await self._try([letter])) for letter in once]
            refused = [(letter, refusal) for letter, refusal in tries if refusal is not None]
            once = [letter for letter, _ in refused]
            if any(refusal.away for _, refusal in refused):
                return once
        await self._delivery.bury([(letter, refusal.error) for letter, refusal in refused])
        return []

    # ---- what both need ----------------------------------------------------------------------------

    async def _try(self, letters: Sequence[Letter], *, known: bool = False) -> WriteFailure | None:
        """Write once. That a suspect (`known`) is refused again does not speak against the sink."""
        refusal = await self._delivery.attempt(letters)
        if refusal is None:
            self._taken += 1
            self._works = True
            self._others_fail = False
            self._in_a_row = 0
            self._pause = self._sink.backoff_s
            return None
        self._away = refusal.away
        if not refusal.of_record and not known:
            self._in_a_row += 1
        return refusal

    def _set_aside(self, letters: Sequence[Letter]) -> None:
        self._aside.extend(_parts(letters))

    async def _load(self, part: Part) -> list[Letter]:
        """What is left of a part."""
        if isinstance(part, list):
            return [letter for letter in part if not letter.ended]
        name, span = self._sink.name, part
        kept = await self._delivery.insist(
            lambda spool: spool.between(name, first=span.first, last=span.last)
        )
        return await self._delivery.letters(kept)

    async def _rest(self, *, heeding_arrivals: bool = False) -> None:
        """Pause, each time twice as long; a stop has no time for it."""
        pause = self._pause
        self._pause = min(2 * pause, self._sink.max_backoff_s)
        if self._hurried.is_set():
            await asyncio.sleep(min(pause, self._sink.backoff_s))
            return
        waiting = self._queue.arrival() if heeding_arrivals else self._hurried.wait()
        await happens(waiting, within_s=pause)

    def _tell(self, letters: Sequence[Letter], refusal: WriteFailure, tries: int) -> None:
        told = facts(letter.intent for letter in letters)
        log.warning(
            "sink_failed",
            sink=self._sink.name,
            intents=len(letters),
            tries=tries,
            **told,
            error=refusal.error,
        )


def _parts(letters: Sequence[Letter]) -> Iterator[Part]:
    numbers = [letter.number for letter in letters if letter.number is not None]
    if numbers:
        yield _Span(min(numbers), max(numbers))
    loose = [letter for letter in letters if letter.number is None]
    if loose:
        yield loose


def _is_rare(turn: int) -> bool:
    """True at the turns 1, 2, 4, 8, 16, and then at each sixteenth."""
    return turn % 16 == 0 or turn in (1, 2, 4, 8)


def _samples(letters: Sequence[Letter], offset: int) -> Iterator[Sequence[Letter]]:
    """Halves of `letters`, and some single ones from `offset` on."""
    half = len(letters) // 2
    if half:
        yield letters[:half]
        yield letters[half:]
    for letter in letters[offset : offset + _SAMPLES]:
        yield [letter]
