"""One look at the database for everybody who follows a stream.

While somebody follows, one task looks again and again, however many follow; nobody follows, nobody looks. A
follower waits for news without any state of its own in here: it compares what it has had with what the looks
have found, and waits only where that is the same. So a slow one holds up nobody and misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from piko.background.backoff import Backoff
from piko.background.periodic import Pause, Transient, repeat
from piko.background.waiting import end, happens
from piko.errors import PikoError

KEEPALIVE_S = 15.0
"""A proxy ends what is silent for long."""
KEEPALIVE = b": keepalive\n\n"


class SharedLook:
    """Calls `look` for all followers, of whom there are at most `most`.

    Everything belongs to one event loop, but for `close`.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[bool]],
        *,
        name: str,
        pause_s: Pause,
        backoff: Backoff,
        failed: Callable[[Exception], None],
        most: int,
    ) -> None:
        """Nothing is looked at before the first follower.

        - `look`: looks once, and says whether there is news.
        - `name`: of its task.
        - `pause_s`: between two looks; `backoff` after one that failed, whose error `failed` reports.
        """
        self._look = look
        self._name = name
        self._pause_s = pause_s
        self._away = Transient(errors=(PikoError,), report=failed, backoff=backoff)
        self._most = most
        self._followers = 0
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.closed = False

    @property
    def idle(self) -> bool:
        """Whether nobody follows."""
        return self._looking is None

    @property
    def full(self) -> bool:
        """Whether there is no room for one more follower."""
        return self._followers >= self._most

    def close(self) -> None:
        """End every stream; may be called from another thread."""
        self._loop.call_soon_threadsafe(self._close)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Somebody follows meanwhile."""
        self._followers += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on(), name=self._name)
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers and self._looking is not None:
                looking, self._looking = self._looking, None
                await end(looking)

    async def news(self) -> bool:
        """Wait for news; False if there was none for so long that a proxy might end the stream.

        To be called right after a follower has found that there is nothing new for it.
        """
        return await happens(self._news.wait(), within_s=KEEPALIVE_S)

    async def _look_on(self) -> None:
        await repeat(self._look_once, pause_s=self._pause_s, transient=[self._away])

    async def _look_once(self) -> None:
        if await self._look() and not self.closed:
            self._news.set()
            self._news.clear()

    def _close(self) -> None:
        self.closed = True
        self._news.set()
