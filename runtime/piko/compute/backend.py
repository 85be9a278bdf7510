"""What every place with worker processes offers, and how it says that one of them died."""

from __future__ import annotations

from typing import Protocol

from piko.compute.chunk import Answer, Chunk


class Backend(Protocol):
    """Worker processes somewhere. Cancelling `run` frees the worker, whatever it is busy with."""

    async def start(self) -> None:
        """Get ready. Raises `ComputeError` where that cannot be."""
        ...

    async def lanes(self) -> int:
        """How many chunks of one call should be on their way at once."""
        ...

    async def run(self, chunk: Chunk) -> Answer:
        """Do `chunk` on a worker; some or all of its items, at least one.

        Raises `CasualtyError` where the worker had to be given up, `ComputeError` where none can be had.
        """
        ...

    async def stop(self) -> None:
        """End all workers, busy or not."""
        ...


class CasualtyError(Exception):
    """A worker is gone together with its chunk, of which nothing came back.

    `offset` is the item that it was at, None where nobody knows. `timed_out`: we ended it, because that item
    took longer than it may.
    """

    def __init__(self, how: str, *, offset: int | None, timed_out: bool = False) -> None:
        super().__init__(how)
        self.how = how
        self.offset = offset
        self.timed_out = timed_out
