"""An app with a job for each thing that one job's code can do to the others, and one innocent job.

A program of its own, which `test_poisons.py` runs as a replica. A job is called `place--exception`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from piko import PikoApp
from piko.core.resource import resource
from piko.persistence.intent import WriteIntent
from piko.persistence.sink_base import ResultSink


class OwnError(BaseException):
    """Is no Exception."""


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class UnshowableError(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise SystemExit(3)


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "OwnError": OwnError,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "UnspeakableError": UnspeakableError,
    "UnshowableError": UnshowableError,
    "Group": lambda: BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("one more")]),
}

app = PikoApp(name="poisoned")


@app.job
async def innocent(ctx: Any, scheduled_time: object) -> None:
    await asyncio.sleep(0)
    await asyncio.to_thread(threading.get_ident)


async def quiet(ctx: Any, /, scheduled_time: object, **resources: object) -> None:
    """Does nothing: what is around it is the poison."""


def _raise(make: Callable[[], BaseException]) -> None:
    raise make()


# ---- within a handler -------------------------------------------------------------------------------


def in_handler(name: str, make: Callable[[], BaseException]) -> None:
    @app.job(f"handler--{name}")
    async def handler(ctx: Any, scheduled_time: object) -> None:
        _raise(make)

    @app.job(f"after_await--{name}")
    async def after_await(ctx: Any, scheduled_time: object) -> None:
        await asyncio.sleep(0.01)
        _raise(make)

    @app.job(f"child_task--{name}")
    async def child_task(ctx: Any, scheduled_time: object) -> None:
        async def child() -> None:
            _raise(make)

        await asyncio.create_task(child())

    @app.job(f"task_group--{name}")
    async def task_group(ctx: Any, scheduled_time: object) -> None:
        async def child() -> None:
            _raise(make)

        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            group.create_task(asyncio.sleep(0.05))

    @app.job(f"clean_up--{name}")
    async def clean_up(ctx: Any, scheduled_time: object) -> None:
        try:
            raise ValueError("first")
        finally:
            _raise(make)


def beside_handler(name: str, make: Callable[[], BaseException]) -> None:
    @app.job(f"left_task--{name}")
    async def left_task(ctx: Any, scheduled_time: object) -> None:
        async def child() -> None:
            await asyncio.sleep(0.01)
            _raise(make)

        left.add(asyncio.create_task(child()))

    @app.job(f"callback--{name}")
    async def callback(ctx: Any, scheduled_time: object) -> None:
        asyncio.get_running_loop().call_soon(_raise, make)


left: set[asyncio.Task[None]] = set()


# ---- in a resource ----------------------------------------------------------------------------------


def in_resource(name: str, make: Callable[[], BaseException]) -> None:
    class Made:
        def __init__(self) -> None:
            _raise(make)

        @asynccontextmanager
        async def acquire(self, ctx: Any) -> AsyncIterator[int]:
            yield 1

    @asynccontextmanager
    async def enters(ctx: Any) -> AsyncIterator[int]:
        _raise(make)
        yield 1

    @asynccontextmanager
    async def leaves(ctx: Any) -> AsyncIterator[int]:
        yield 1
        _raise(make)

    @asynccontextmanager
    async def enters_for_all(ctx: Any) -> AsyncIterator[int]:
        _raise(make)
        yield 1

    @asynccontextmanager
    async def leaves_at_the_end(ctx: Any) -> AsyncIterator[int]:
        yield 1
        _raise(make)

    class MadeForAll(Made):
        pass

    app.job(f"resource_made--{name}", resources={"it": Made})(quiet)
    app.job(f"resource_enters--{name}", resources={"it": enters})(quiet)
    app.job(f"resource_leaves--{name}", resources={"it": leaves})(quiet)
    for_all = resource(scope="app")
    app.job(f"shared_made--{name}", resources={"it": for_all(MadeForAll)})(quiet)
    app.job(f"shared_enters--{name}", resources={"it": for_all(enters_for_all)})(quiet)
    app.job(f"shared_leaves--{name}", resources={"it": for_all(leaves_at_the_end)})(quiet)


# ---- in a model -------------------------------------------------------------------------------------


def in_model(name: str, make: Callable[[], BaseException]) -> None:
    class Validates(BaseModel):
        size: int = Field(1, validate_default=True)

        @field_validator("size")
        @classmethod
        def _look(cls, value: int) -> int:
            raise make()

    class Defaults(BaseModel):
        size: int = Field(default_factory=lambda: _raise(make))  # type: ignore[assignment]

    class Inits(BaseModel):
        def model_post_init(self, context: Any, /) -> None:
            _raise(make)

    class Tells(BaseModel):
        size: int = 1

        @classmethod
        def __get_pydantic_json_schema__(cls, schema: Any, handler: Any, /) -> Any:
            raise make()

    app.job(f"validator--{name}", schema=Validates)(quiet)
    app.job(f"default--{name}", schema=Defaults)(quiet)
    app.job(f"post_init--{name}", schema=Inits)(quiet)
    app.job(f"schema_hook--{name}", schema=Tells)(quiet)


# ---- in a sink --------------------------------------------------------------------------------------


class PoisonedSink(ResultSink):
    def __init__(self, name: str, make: Callable[[], BaseException], *, closes: bool) -> None:
        super().__init__(name, attempts=1, backoff_s=0.05, max_backoff_s=0.1)
        self._make = make
        self._closes = closes

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        if not self._closes:
            _raise(self._make)

    async def close(self) -> None:
        _raise(self._make)


def in_sink(name: str, make: Callable[[], BaseException]) -> None:
    for place in ("sink_writes", "sink_closes"):
        app.writer.register_sink(PoisonedSink(f"{place}--{name}", make, closes=place == "sink_closes"))

        @app.job(f"{place}--{name}")
        async def writes(ctx: Any, scheduled_time: Any) -> None:
            await app.writer.enqueue(
                WriteIntent(
                    sink=ctx.job_id,
                    key="1",
                    payload={"a": 1},
                    job_id=ctx.job_id,
                    run_id=ctx.run_id,
                    scheduled_time=scheduled_time,
                )
            )


class Opaque:
    """Has no JSON Schema."""


class Arbitrary(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Opaque | None = None
    call: Callable[[int], int] = abs
    limit: float = float("inf")


app.job("without_schema--Arbitrary", schema=Arbitrary)(quiet)


@app.job("stops_the_loop--RuntimeError")
async def stops_the_loop(ctx: Any, scheduled_time: object) -> None:
    asyncio.get_running_loop().stop()


for each_name, each in EXCEPTIONS.items():
    in_handler(each_name, each)
    beside_handler(each_name, each)
    in_resource(each_name, each)
    in_model(each_name, each)
    in_sink(each_name, each)

if __name__ == "__main__":
    sys.setrecursionlimit(1_000)
    app.run()
