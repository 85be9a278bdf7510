"""Logs are events: a name and its facts on one line, JSON in a container, readable on a terminal.

An event is written out before it becomes a record of the standard library's logging, which costs half as much
as the way round by its formatters: two events for each run are a good part of what a run costs. Handlers of
others, a collector of errors for instance, get the record all the same.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor

from piko.clock import SystemClock
from piko.observability.bindings import RUN
from piko.text import LIMIT, excerpt, repr_text, traceback_text

LogFormat = Literal["auto", "json", "text"]

LINE = 15_000
"""Bytes of one line of JSON: a container's runtime cuts longer ones in two, and neither half is JSON then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """How the events of this process are written; as another process can be told."""

    as_json: bool
    debug: bool

    def as_options(self) -> dict[str, Any]:
        return asdict(self)


def logging_in_use() -> Logging | None:
    """What `configure_logging` has chosen; None: this process logs as somebody else has set it up."""
    return next((item.chosen for item in logging.getLogger().handlers if isinstance(item, _Handler)), None)


def configure_logging(
    *, log_format: LogFormat = "auto", debug: bool = False, stream: TextIO | None = None
) -> Logging:
    """Write what every logger of the process tells, those of libraries included, to stderr.

    One handler is added to the root logger, or takes the place of the one that an earlier call has added.
    Handlers that others have put there stay, and get every record too. The root's level becomes INFO, or
    DEBUG with `debug`. Once in a process, at its start: loggers that have spoken keep the format of before.
    """
    out = real_stream(sys.stderr) if stream is None else stream
    as_json = log_format == "json" or (log_format == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Not the renderer that shows local variables: among them are configs and connections.
    last: list[Processor] = [
        structlog.processors.ExceptionRenderer(_traceback),
        structlog.processors.JSONRenderer(_as_json) if as_json else _fitting,
    ]
    if not as_json:
        last.append(
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        )
    level = logging.DEBUG if debug else logging.INFO
    of_that_name = structlog.stdlib.LoggerFactory([__name__])  # without a name: of the module that asks
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=lambda *names: _EventLogger(of_that_name(*names)),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = _Handler(out, Logging(as_json=as_json, debug=debug))
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for earlier in [item for item in root.handlers if isinstance(item, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    for chatty in ("asyncio", "aiosqlite", "httpx", "httpcore", "uvicorn.access", "uvicorn.error", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return handler.chosen


class _Handler(logging.StreamHandler[TextIO]):
    """The one that `configure_logging` adds."""

    def __init__(self, stream: TextIO, chosen: Logging) -> None:
        super().__init__(stream)
        self.chosen = chosen

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the library's
        """A line that cannot be written fails nobody: the stream may be closed, or its disk full."""
        with suppress(Exception):
            super().handleError(record)


def real_stream(stream: TextIO) -> TextIO:
    """What is beneath a stream whose lines are told as events."""
    beneath: TextIO = getattr(stream, "beneath", stream)
    return beneath


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose methods take an event name and its facts as keywords."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


_ENCODER = json.JSONEncoder(default=repr_text, allow_nan=False)
_BUDGETS = (4_000, 1_000, 200)
_FIELDS = 40
_NAME = 60
_OWN = ("event", "level", "logger", "timestamp", "exception", *RUN)
"""What is told of an event however little of it fits."""


def _as_json(event: object, **_: object) -> str:
    assert isinstance(event, dict)
    return event_line(event)


def event_line(event: Mapping[Any, object]) -> str:
    """One line of JSON, of `LINE` bytes at most, whatever the event holds."""
    try:
        line = _ENCODER.encode(event)
    except (ValueError, TypeError, RecursionError):  # circular, too deep, no number, keys that are no names
        line = ""
    if line and len(line) <= LINE:
        return line
    told = {excerpt(str(name), limit=_NAME): value for name, value in event.items()}
    others = [name for name in told if name not in _OWN][:_FIELDS]
    for budget in _BUDGETS:
        named = [name for name in told if name in _OWN] + others
        line = _ENCODER.encode({name: _short(told[name], budget) for name in named})
        if len(line) <= LINE:
            return line
    return _ENCODER.encode({name: _short(told[name], _BUDGETS[-1]) for name in told if name in _OWN})


def _short(value: object, budget: int) -> object:
    """`value` as something that JSON has, in about `budget` bytes."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return excerpt(value if isinstance(value, str) else repr_text(value), limit=budget)


def _fitting(_logger: object, _name: str, event: EventDict) -> EventDict:
    """The event with each of its fields as long as a person reads."""
    for name, value in event.items():
        shown = value if isinstance(value, str) else repr_text(value)
        if len(shown) > _BUDGETS[0]:
            event[name] = excerpt(shown, limit=LIMIT if name == "exception" else _BUDGETS[0])
    return event


def _traceback(exc_info: ExcInfo) -> str:
    return traceback_text(exc_info[1])


_NOT_TOLD = MappingProxyType(
    dict.fromkeys(("args", "exc_info", "exc_text", "stack_info"))
    | dict.fromkeys(("pathname", "filename", "module", "funcName"), "")
    | dict.fromkeys(("lineno", "thread", "process", "relativeCreated"), 0)
    | dict.fromkeys(("threadName", "processName", "taskName"), "")
)


class _Event(logging.LogRecord):
    """An event that is written out already.

    Where in the source it was told costs as much to find out as all the rest, and nobody asks: it has a name.
    """

    def __init__(self, name: str, level: int, text: str, *, created: float) -> None:
        self.__dict__.update(_NOT_TOLD)
        self.name = name
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.msg = text
        self.created = created
        self.msecs = created % 1 * 1000


class _EventLogger:
    """Passes events on to the logger of the standard library that has their name."""

    def __init__(self, logger: logging.Logger) -> None:
        self.name = logger.name
        self._logger = logger
        self._now = SystemClock().now

    def debug(self, text: str) -> None:
        self._tell(logging.DEBUG, text)

    def info(self, text: str) -> None:
        self._tell(logging.INFO, text)

    def warning(self, text: str) -> None:
        self._tell(logging.WARNING, text)

    def error(self, text: str) -> None:
        self._tell(logging.ERROR, text)

    def critical(self, text: str) -> None:
        self._tell(logging.CRITICAL, text)

    def _tell(self, level: int, text: str) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.handle(_Event(self.name, level, text, created=self._now().timestamp()))


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Writes out what libraries log."""

    def format(self, record: logging.LogRecord) -> str:
        return str(record.msg) if isinstance(record, _Event) else super().format(record)
