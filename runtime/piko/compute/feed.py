"""Items, fetched a few at a time from any iterable or async iterable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Sequence, Sized
from typing import Any

_PATIENCE_S = 0.01


class Feed:
    """Fetches items from a list, an iterator or an async iterator, never more than requested.

    An ordinary iterator runs on the event loop, in the task that waits for the results. A fetch ends after 10
    ms with the items that the iterator has yielded, so that a slow iterator does not block the loop to fill a
    chunk. An iterator that blocks for longer than that for each item should be an async iterator.
    """

    def __init__(self, items: Iterable[Any] | AsyncIterable[Any]) -> None:
        self.total = len(items) if isinstance(items, Sized) else None
        self.fetched = 0
        self.open = True
        self._sequence = items if isinstance(items, Sequence) else None
        self._sync = None if isinstance(items, AsyncIterable) else iter(items)
        self._async = aiter(items) if isinstance(items, AsyncIterable) else None

    @property
    def remaining(self) -> int | None:
        return None if self.total is None else max(self.total - self.fetched, 0)

    async def fetch(self, size: int) -> Sequence[Any]:
        """Up to `size` items; empty if there are no more."""
        if self._sequence is not None:
            items = self._sequence[self.fetched : self.fetched + size]
        elif self._async is not None:
            items = await self._await(size)
        else:
            items = self._iterate(size)
        self.fetched += len(items)
        if not items or (self._sequence is not None and self.fetched >= len(self._sequence)):
            self.open = False
        return items

    def _iterate(self, size: int) -> list[Any]:
        assert self._sync is not None
        items: list[Any] = []
        time = asyncio.get_running_loop().time
        until = time() + _PATIENCE_S
        for item in self._sync:
            items.append(item)
            if len(items) >= size or (len(items) & 15 == 0 and time() > until):
                break
        return items

    async def _await(self, size: int) -> list[Any]:
        assert self._async is not None
        items: list[Any] = []
        time = asyncio.get_running_loop().time
        until = time() + _PATIENCE_S
        async for item in self._async:
            items.append(item)
            if len(items) >= size or time() > until:
                break
        return items
