"""Answers of the API server that nest deeper than a reader of JSON can follow.

The API server takes 10,000 levels; Python's reader gives up at about 1,000, in some versions later. One such
resource would take with it the page of a listing or the watch it arrives in, and so the resources of
everyone. Therefore what lies deeper than `LEVELS` is left out of the text before it is read, with null in its
place. The resource itself is refused by its own rules all the same, which allow far less.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

LEVELS = 100

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def read_answer(text: bytes) -> Any:
    """The value of a JSON text, however deep. Raises `ValueError` for what is no JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(shallow(text))


def shallow(text: bytes) -> bytes:
    """`text` with null in the place of what lies deeper than `LEVELS`."""
    if text.count(b"{") + text.count(b"[") <= LEVELS:
        return text
    kept: list[bytes] = []
    start = level = 0
    for token in _TOKEN.finditer(text):
        match text[token.start()]:
            case 0x7B | 0x5B:  # { [
                level += 1
                if level == LEVELS + 1:
                    kept += [text[start : token.start()], b"null"]
            case 0x7D | 0x5D:  # } ]
                if level == LEVELS + 1:
                    start = token.end()
                level -= 1
    kept.append(text[start:])
    return b"".join(kept)


class ShallowResponse(aiohttp.ClientResponse):
    """A response whose lines and whose JSON are `shallow`: for readers that are not ours."""

    async def start(self, connection: Any) -> ShallowResponse:
        await super().start(connection)
        self.content = _ShallowLines(self.content)  # type: ignore[assignment]
        return self

    async def json(self, **_: Any) -> Any:
        return read_answer(await self.read())


class _ShallowLines:
    """A stream that is read in chunks gives whole lines; everything else is the stream's own."""

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
