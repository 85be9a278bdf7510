"""What a handler knows about its run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from math import isfinite
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

from piko.core.types import DataInterval, TriggerType
from piko.errors import RunError
from piko.text import excerpt

__all__ = ["EventLogger", "JobContext"]

_LONGEST_TEXT = 255


class EventLogger(Protocol):
    """What writes an event: its name, and its facts as keywords."""

    def debug(self, event: str, **facts: Any) -> Any: ...
    def info(self, event: str, **facts: Any) -> Any: ...
    def warning(self, event: str, **facts: Any) -> Any: ...
    def error(self, event: str, **facts: Any) -> Any: ...
    def exception(self, event: str, **facts: Any) -> Any: ...
    def critical(self, event: str, **facts: Any) -> Any: ...


class _Silent:
    """Writes nothing."""

    def _nothing(self, event: str, **facts: Any) -> None:
        pass

    debug = info = warning = error = exception = critical = _nothing


_SILENT: EventLogger = _Silent()

ConfigT = TypeVar("ConfigT", default=Any, covariant=True)

_Write = Callable[["JobContext[Any]", str, str, Any], Awaitable[None]]


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
    _log: EventLogger = field(default=_SILENT, repr=False)
    _advance: Callable[[float, float | None, str | None], None] | None = field(default=None, repr=False)
    _write: _Write | None = field(default=None, repr=False)
    _recorded: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def log(self) -> EventLogger:
        """A logger whose methods take an event name and its facts: `ctx.log.info("rows_read", rows=10)`.

        Its lines carry the run, as those of every other logger do, and are kept in the log of the run. In a
        context that you make yourself, such as in a test, it writes nothing.
        """
        return self._log

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

    async def write(self, sink: str, key: str, payload: Any) -> None:
        """Have `payload` written to the sink named `sink`, as `app.writer.enqueue` does for this run.

        - `sink`: the name under which a sink is registered.
        - `key`: sets this record apart from the others of the run; the same in each attempt.
        - `payload`: what the sink takes.

        Waits where the sink's queue is full. Raises what `app.writer.enqueue` raises; `RunError` in a context
        that belongs to no run.
        """
        if self._write is None:
            raise RunError(
                f"ctx.write({sink!r}, {key!r}, …): this context was made by hand, so nothing takes what it "
                "writes; in a test, call the handler by `run_job(…)` of piko.testing"
            )
        await self._write(self, sink, key, payload)

    def record(self, **facts: Any) -> None:
        """Keep facts with the run: `ctx.record(rows=120)`; a name that is recorded again has the last value.

        They are kept as a dict that the handler returns is, as JSON, and together with it; and unlike it also
        where the run fails, with what was recorded until then.
        """
        self._recorded.update(facts)

    @property
    def recorded(self) -> Mapping[str, Any]:
        """What this run has recorded until now."""
        return self._recorded

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
