"""A failing sink: is the sink down, or are records bad?

An exception alone does not show whether a sink is down or a record is bad. What the sink accepts meanwhile
does. So a batch that keeps failing is set aside, and the batches behind it are tried. While nothing is
accepted, the sink is down: everything is kept, and tries become rarer. An accepted write shows that the sink
works; then the set-aside letters are tried again, and a batch that fails is halved until single records are
left.

A record is bad once the sink has refused it alone `attempts` times, each time between two writes that it
accepted. So every accepted write is evidence on all suspects, and they are tried again at once: in a batch
that holds both kinds, the good records convict the bad ones, and no other traffic is needed. If there is
nothing else to write, refusals after further pauses count as proof: for a bounded number of records each time
that the sink has accepted a write, and never for errors that suggest an unavailable sink. After each failure
a batch from behind is tried, so that the search holds up no other records.

A sink that knows that a record does not fit raises `PayloadError`: that needs no proof.

Set-aside letters are on disk; memory holds only their ids. Letters that cannot be put on disk stay in memory,
at most as many as the queue may hold.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from piko.background.waiting import happens
from piko.observability.logs import get_logger
from piko.persistence.delivery import Delivery, WriteFailure
from piko.persistence.letter import Letter
from piko.persistence.queue import SinkQueue
from piko.persistence.sink_base import ResultSink
from piko.persistence.suspects import Suspects

_IN_A_ROW = 64
"""Failures in a row after which the sink is presumed down."""
_UNPROVEN = 40
"""Records that may be buried per accepted write while no other traffic shows that the sink works."""
_SAMPLES = 8

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Span:
    """Letters set aside on disk: those left there with ids from `first` through `last`."""

    first: int
    last: int


Part = _Span | list[Letter]


class SinkTrouble:
    """Handles a failing sink, from its first failed write until the backlog is resolved.

    `secure` puts letters on disk. `hurried` is set when the writer stops, so that pauses become short.
    """

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
        """Set aside because the sink reported that a record in it does not fit."""
        self._pause = sink.backoff_s
        self._works = False
        """Whether the sink has accepted a write, and few failures have followed."""
        self._accepted = 0
        self._in_a_row = 0
        self._others_fail = False
        """Whether the last batch tried from behind failed too."""
        self._hangs = False
        """Whether the oldest part timed out."""
        self._suspects = Suspects(attempts=sink.attempts)
        self._away = False
        """Whether the last failure suggests that the sink is unavailable."""
        self._turn = 0
        self._part, self._offset = 0, 0
        """The position of the search in the set-aside letters: the part, and the letter within it."""

    async def overcome(self, batch: list[Letter], refusal: WriteFailure) -> None:
        """Return when `batch`, and everything set aside behind it, is delivered or dead."""
        tries = 1
        while not refusal.of_record and tries < self._sink.attempts:
            self._log_failure(batch, refusal, tries)
            await self._rest()
            again = await self._try(batch)
            if again is None:
                return
            refusal, tries = again, tries + 1
        if refusal.of_record:
            await self._sift(batch)
        else:
            self._log_failure(batch, refusal, tries)
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
        """Find anything that the sink accepts.

        The oldest part comes first, and right after it a batch from behind. An outage rarely ends exactly
        between the two, so the order is kept.
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
        """Try the halves of a part and some letters alone; each turn tries others, until all were tried.

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
        """Try the part that was set aside first; True if the sink accepts it."""
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
        """If the queue is empty, try another set-aside part; True if the sink accepts it."""
        if len(self._aside) < 2:
            return False
        letters = await self._load(self._aside[1 + self._turn % (len(self._aside) - 1)])
        return bool(letters) and await self._try(letters) is None

    async def _next_others(self) -> list[Letter]:
        """The next batch of the queue, put on disk."""
        if len(self._delivery.loose) >= self._sink.queue_size or not len(self._queue):
            return []
        batch = await self._delivery.patiently(self._queue.next)
        await self._secure(batch)
        return batch

    async def _try_others(self, batch: list[Letter]) -> bool:
        """Try a batch from behind; True if the sink accepts it."""
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
        """Try the set-aside parts for as long as that yields new evidence."""
        accepted = -1
        while self._aside and self._works and accepted < self._accepted:
            accepted = self._accepted
            for _ in range(len(self._aside)):
                await self._sift(await self._load(self._aside.popleft()))
                if not self._works:
                    return
        self._works = False

    async def _sift(self, letters: list[Letter]) -> None:
        """Deliver the letters that the sink accepts, bury those proven bad, set aside the undecided ones."""
        fresh = [letter for letter in letters if letter not in self._suspects]
        pieces = deque([fresh] if fresh else [])
        suspects = await self._try_again([letter for letter in letters if letter in self._suspects])
        while pieces and self._in_a_row < _IN_A_ROW:
            piece, accepted = pieces.popleft(), self._accepted
            refusal = await self._try(piece)
            if refusal is not None and len(piece) > 1:
                half = len(piece) // 2
                pieces.extendleft((piece[half:], piece[:half]))
            elif refusal is not None:
                suspects.extend(await self._suspected(piece[0], refusal))
            if refusal is not None and not refusal.of_record:
                await self._try_others(await self._next_others())
            if accepted < self._accepted:
                suspects = await self._try_again(suspects)
        if pieces:
            self._works = False
        if suspects and self._works and not len(self._queue) and not self._others_fail:
            suspects = await self._second_look(suspects[:_UNPROVEN]) + suspects[_UNPROVEN:]
        self._set_aside([*suspects, *(letter for piece in pieces for letter in piece)])

    async def _suspected(self, letter: Letter, refusal: WriteFailure) -> list[Letter]:
        """Note that the sink refused `letter` alone. Returns it as a suspect, unless it is buried at once."""
        if refusal.of_record:
            await self._delivery.bury([(letter, refusal.error)])
            return []
        if self._works:
            self._suspects.note(letter, refusal, accepted=self._accepted)
        return [letter]

    async def _try_again(self, suspects: list[Letter]) -> list[Letter]:
        """Bury proven records, try a bounded number of others alone, and return the remaining suspects."""
        errors = [(letter, self._suspects.proof(letter, accepted=self._accepted)) for letter in suspects]
        await self._delivery.bury([(letter, error) for letter, error in errors if error is not None])
        left: list[Letter] = []
        tries = 0
        for letter, _ in (each for each in errors if each[1] is None):
            if tries >= _IN_A_ROW or not self._suspects.is_worth_retrying(letter, accepted=self._accepted):
                left.append(letter)
                continue
            tries += 1
            refusal = await self._try([letter], known=True)
            if refusal is not None:
                left.extend(await self._suspected(letter, refusal))
                await self._try_others(await self._next_others())
        return left

    async def _second_look(self, once: list[Letter]) -> list[Letter]:
        """If no other traffic can show that the sink works: try repeatedly, then bury what it still refuses.

        Returns the suspects that newly arrived intents can decide.
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
        """Write once. If a suspect (`known`) is refused again, that is no evidence against the sink."""
        refusal = await self._delivery.attempt(letters)
        if refusal is None:
            self._accepted += 1
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
        """The letters of a part that are not delivered or dead yet."""
        if isinstance(part, list):
            return [letter for letter in part if not letter.ended]
        name, span = self._sink.name, part
        kept = await self._delivery.insist(
            lambda spool: spool.between(name, first=span.first, last=span.last)
        )
        return await self._delivery.letters(kept)

    async def _rest(self, *, heeding_arrivals: bool = False) -> None:
        """Pause, each time twice as long; short while the writer stops."""
        pause = self._pause
        self._pause = min(2 * pause, self._sink.max_backoff_s)
        if self._hurried.is_set():
            await asyncio.sleep(min(pause, self._sink.backoff_s))
            return
        waiting = self._queue.arrival() if heeding_arrivals else self._hurried.wait()
        await happens(waiting, within_s=pause)

    def _log_failure(self, letters: Sequence[Letter], refusal: WriteFailure, tries: int) -> None:
        named = self._delivery.named(letter.intent for letter in letters)
        log.warning(
            "sink_failed",
            sink=self._sink.name,
            intents=len(letters),
            tries=tries,
            **named,
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
    """True at turns 1, 2, 4, 8, 16, and then at every sixteenth."""
    return turn % 16 == 0 or turn in (1, 2, 4, 8)


def _samples(letters: Sequence[Letter], offset: int) -> Iterator[Sequence[Letter]]:
    """The halves of `letters`, and single letters from `offset` on."""
    half = len(letters) // 2
    if half:
        yield letters[:half]
        yield letters[half:]
    for letter in letters[offset : offset + _SAMPLES]:
        yield [letter]
