"""How many items make a chunk: enough to make the way to the worker cheap, few enough to share the work out.

The first chunks are small. What they took says how many items fit into the time that a chunk should take, and
the next chunk is of that size, unless that would be too many bytes. Where that was wrong, since items need
not be like each other, a worker hands in what it has when its time is over, and the rest is cut anew. Near
the end of items whose number is known, chunks shrink again, so that all workers finish together.
"""

from __future__ import annotations

from piko.errors import ComputeError

TARGET_S = 0.05
BUDGET_S = 4 * TARGET_S
_WORTH_SENDING_S = 0.002
_TARGET_BYTES = 4_000_000
_FIRST = 16
_GROWTH = 256
_LARGEST = 100_000


class ChunkSizer:
    """The size of the next chunk: `fixed`, or learned."""

    def __init__(self, *, fixed: int | None, lanes: int) -> None:
        if fixed is not None and fixed < 1:
            raise ComputeError(f"chunk_size = {fixed!r} must be at least 1; leave it out to have it chosen")
        self._fixed = fixed
        self._lanes = lanes
        self._size = _FIRST
        self._per_item_s: float | None = None

    @property
    def budget_s(self) -> float | None:
        """After which time a worker should hand in what it has; a fixed size is kept."""
        if self._fixed is not None:
            return None
        return TARGET_S if self._per_item_s is None else BUDGET_S

    def size(self, remaining: int | None) -> int:
        """How many items to take; `remaining` is None where nobody knows how many are left."""
        if self._fixed is not None:
            return self._fixed
        size = self._size
        if remaining is not None:
            share = -(-remaining // (2 * self._lanes))
            worth_sending = int(_WORTH_SENDING_S / self._per_item_s) if self._per_item_s else 1
            size = min(size, max(share, worth_sending))
        return max(size, 1)

    def learn(self, *, done: int, seconds: float, transferred: int) -> None:
        """Take in what a chunk took; `transferred` is in bytes, both ways."""
        if self._fixed is not None or done < 1:
            return
        per_item_s = max(seconds / done, 1e-9)
        if self._per_item_s is not None:
            per_item_s = (self._per_item_s + per_item_s) / 2
        self._per_item_s = per_item_s
        fits = min(int(TARGET_S / per_item_s), _TARGET_BYTES * done // max(transferred, 1))
        self._size = max(1, min(fits, self._size * _GROWTH, _LARGEST))
