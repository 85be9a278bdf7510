"""Answers of the API server to readers outside Piko, without what is nested too deep for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from piko_operator.nesting import read_answer, shallow


class ShallowResponse(aiohttp.ClientResponse):
    """A response whose lines and JSON are `shallow`, for readers outside Piko."""

    async def start(self, connection: Any) -> ShallowResponse:
        await super().start(connection)
        self.content = _ShallowLines(self.content)  # type: ignore[assignment]
        return self

    async def json(self, **_: Any) -> Any:
        return read_answer(await self.read())


class _ShallowLines:
    """A stream whose chunks are whole, shallow lines; everything else is delegated."""

    def __init__(self, stream: aiohttp.StreamReader) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        rest = b""
        async for chunk in self._stream.iter_chunked(size):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield shallow(line) + b"\n"
        if rest:
            yield shallow(rest)
