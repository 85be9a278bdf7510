"""What a handler knows about its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Generic

from typing_extensions import TypeVar

from piko.core.types import DataInterval, TriggerType

__all__ = ["JobContext"]

ConfigT = TypeVar("ConfigT", default=Any)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JobContext(Mapping[str, Any], Generic[ConfigT]):
    """A mapping that also has attributes: `ctx["run_id"]` and `ctx.run_id` are the same.

    A type checker knows the attributes. `JobContext[SweepConfig]` is the context of a job whose `schema` is
    the model `SweepConfig`, which is then the type of its `ctx.config`.

    `data_interval` exists only for stateful jobs, `backfill_id` only in a backfill. `idempotency_key` is the
    same for every attempt at one due time, so that a handler can make its external effects happen once. A
    backfill repeats them on purpose, and has keys of its own.
    """

    run_id: str
    job_id: str
    config: ConfigT = field(repr=False)
    scheduled_time: datetime
    attempt: int
    trigger_type: TriggerType
    data_interval: DataInterval | None = None
    config_revision: int | None = None
    backfill_id: str | None = None

    @property
    def idempotency_key(self) -> str:
        due_time = f"{self.job_id}@{self.scheduled_time.isoformat()}"
        return due_time if self.backfill_id is None else f"{due_time}/{self.backfill_id}"

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys():
            raise KeyError(f"{key!r}; this run's context has {', '.join(self._keys())}")
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def _keys(self) -> list[str]:
        names = [item.name for item in fields(self)]
        for name in ("data_interval", "backfill_id"):
            if getattr(self, name) is None:
                names.remove(name)
        return [*names, "idempotency_key"]
