"""How many items make a chunk: enough to amortize the transfer, few enough to balance the work.

The first chunks are small. Their duration shows how many items fit into the target time of a chunk, and the
next chunk has that size, unless it would have too many bytes. Items may differ, so a worker returns what it
has when its time budget is over, and the rest is cut again. If the number of items is known, chunks shrink
near the end, so that all workers finish together.
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
    """Chooses the size of the next chunk: `fixed`, or learned from earlier chunks."""

    def __init__(self, *, fixed: int | None, parallelism: int) -> None:
        if fixed is not None and fixed < 1:
            raise ComputeError(
                f"chunk_size = {fixed!r} must be at least 1; omit it to have it chosen automatically"
            )
        self._fixed = fixed
        self._parallelism = parallelism
        self._size = _FIRST
        self._per_item_s: float | None = None

    @property
    def budget_s(self) -> float | None:
        """Seconds after which a worker returns what it has; None for a fixed size."""
        if self._fixed is not None:
            return None
        return TARGET_S if self._per_item_s is None else BUDGET_S

    def spread(self, parallelism: int) -> None:
        """From now on, so many chunks are in flight at once."""
        self._parallelism = parallelism

    def size(self, remaining: int | None) -> int:
        """How many items to fetch; `remaining` is None if it is unknown."""
        if self._fixed is not None:
            return self._fixed
        size = self._size
        if remaining is not None:
            share = -(-remaining // (2 * self._parallelism))
            worth_sending = int(_WORTH_SENDING_S / self._per_item_s) if self._per_item_s else 1
            size = min(size, max(share, worth_sending))
        return max(size, 1)

    def learn(self, *, done: int, seconds: float, transferred: int) -> None:
        """Learn from a chunk: `done` items in `seconds`; `transferred` bytes in both directions."""
        if self._fixed is not None or done < 1:
            return
        per_item_s = max(seconds / done, 1e-9)
        if self._per_item_s is not None:
            per_item_s = (self._per_item_s + per_item_s) / 2
        self._per_item_s = per_item_s
        fits = min(int(TARGET_S / per_item_s), _TARGET_BYTES * done // max(transferred, 1))
        self._size = max(1, min(fits, self._size * _GROWTH, _LARGEST))
