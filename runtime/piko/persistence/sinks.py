"""Sinks that are ready to use."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from piko.errors import PayloadError
from piko.persistence.codec import packed
from piko.persistence.intent import WriteIntent
from piko.persistence.sink_base import ResultSink
from piko.store.target import TargetTable

__all__ = ["JsonLinesSink", "SqlTableSink"]


class JsonLinesSink(ResultSink):
    """Appends one JSON object per intent to a file: `key`, `job_id`, `run_id`, `scheduled_time`, `payload`.

    Values that JSON lacks are written with tags, as in the spool. A batch counts as written once it is on
    disk.
    """

    def __init__(self, name: str, *, path: Path | str, **options: Any) -> None:
        super().__init__(name, **options)
        self.path = Path(path)

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        lines = "".join(f"{json.dumps(_line(intent), ensure_ascii=False)}\n" for intent in batch)
        await asyncio.to_thread(self._append, lines.encode(errors="backslashreplace"))

    def _append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


class SqlTableSink(ResultSink):
    """Upserts payloads (objects or Pydantic models) into a table by its primary key.

    `name` is what jobs call the sink, `table` where it writes, and `dsn` the table's database: MySQL, MariaDB
    or SQLite. Columns that a payload lacks get their default. A batch is one transaction. `options` are those
    of `ResultSink`.
    """

    def __init__(self, name: str, *, dsn: str, table: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._target = TargetTable(dsn=dsn, table=table)

    def check(self, intent: WriteIntent) -> None:
        if not isinstance(intent.payload, BaseModel | Mapping):
            raise PayloadError(
                f"sink {self.name!r} writes objects and Pydantic models into columns, not a "
                f"{type(intent.payload).__name__} (intent {intent.key!r})"
            )

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        rows = [
            dict(item.payload) if isinstance(item.payload, Mapping) else item.payload.model_dump()
            for item in batch
        ]
        await self._target.upsert(rows)

    async def close(self) -> None:
        await self._target.close()


def _line(intent: WriteIntent) -> dict[str, Any]:
    return {
        "key": intent.key,
        "job_id": intent.job_id,
        "run_id": intent.run_id,
        "scheduled_time": intent.scheduled_time.isoformat(),
        "payload": packed(intent.payload),
    }
