"""Keys in parts, so that no statement binds more values than a server or a driver takes gladly."""

from __future__ import annotations

from collections.abc import Collection, Iterator


def chunks(keys: Collection[str], *, size: int = 500) -> Iterator[list[str]]:
    """`keys` in their order, each once, at most `size` at a time."""
    ordered = sorted(set(keys))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
