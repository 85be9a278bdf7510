"""The interface of a backend with worker processes, and the error for a worker that died."""

from __future__ import annotations

from typing import Protocol

from piko.compute.chunk import Answer, Chunk


class Backend(Protocol):
    """A set of worker processes. Cancelling `run` frees the worker, whatever code it is running."""

    async def start(self) -> None:
        """Prepare the backend. Raises `ComputeError` if it cannot be used."""
        ...

    async def parallelism(self) -> int:
        """How many chunks of one call should be in flight at once."""
        ...

    async def run(self, chunk: Chunk) -> Answer:
        """Run `chunk` on a worker; the answer covers some or all of its items, at least one.

        Raises `CasualtyError` if the worker was lost, and `ComputeError` if no worker is available.
        """
        ...

    async def stop(self) -> None:
        """End all workers, busy or not."""
        ...


class CasualtyError(Exception):
    """A worker was lost together with its chunk; no result came back.

    `offset` is the item that it was processing, or None if that is unknown. `timed_out`: Piko killed it
    because that item exceeded its time limit.
    """

    def __init__(self, how: str, *, offset: int | None, timed_out: bool = False) -> None:
        super().__init__(how)
        self.how = how
        self.offset = offset
        self.timed_out = timed_out
