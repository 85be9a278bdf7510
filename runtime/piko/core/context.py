"""What a handler knows about its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from piko.core.types import DataInterval, TriggerType
from piko.text import excerpt

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["JobContext"]

LOGGER = "job"
"""The name of the logger behind `ctx.log`."""
_LONGEST_TEXT = 255

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
    _advance: Callable[[float, float | None, str | None], None] | None = field(default=None, repr=False)

    @property
    def log(self) -> FilteringBoundLogger:
        """A logger whose methods take an event name and its facts: `ctx.log.info("rows_read", rows=10)`.

        Its lines carry the run, as those of every other logger do, and are kept in the log of the run.
        """
        # Imported here, because whoever tests a handler with a context of their own needs no logging.
        from piko.observability.logs import get_logger

        return get_logger(LOGGER)

    def progress(self, done: float, total: float | None = None, text: str | None = None) -> None:
        """Say how far the run is, as often as you like: about once a second the latest is stored and shown.

        - `done`: how much is done, in any unit.
        - `total`: how much there is to do; None: unknown.
        - `text`: what is being done, at most 255 characters; the rest is cut.

        Raises `ValueError` if a number is not finite.
        """
        for name, number in (("done", done), ("total", total)):
            if number is not None and not isfinite(number):
                raise ValueError(f"progress: {name} = {number!r}: expected a finite number")
        if self._advance is not None:
            shown = None if text is None else excerpt(str(text), limit=_LONGEST_TEXT)
            self._advance(float(done), None if total is None else float(total), shown)

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
        names = [item.name for item in fields(self) if not item.name.startswith("_")]
        for name in ("data_interval", "backfill_id"):
            if getattr(self, name) is None:
                names.remove(name)
        return [*names, "idempotency_key"]
