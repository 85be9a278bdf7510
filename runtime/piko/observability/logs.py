"""Logs are events: a name and its facts on one line, JSON in a container, readable on a terminal.

An event is rendered before it becomes a record of the standard library's logging, which costs half as much as
rendering it in a formatter; with two events for each run, that is a good part of the cost of a run. Handlers
that others have installed, such as an error collector, still get the record.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor

from piko.clock import SystemClock
from piko.observability.bindings import RUN, current_log, merge_run
from piko.text import LIMIT, excerpt, repr_text, traceback_text

LogFormat = Literal["auto", "json", "text"]

LINE = 15_000
"""The most bytes of one line of JSON: container runtimes split longer lines, and the parts are not JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """How this process writes its events, in a form that can be passed to another process."""

    as_json: bool
    debug: bool

    def as_options(self) -> dict[str, Any]:
        return asdict(self)


def logging_in_use() -> Logging | None:
    """What `configure_logging` has chosen; None if this process does not use Piko's logging."""
    return next((item.chosen for item in logging.getLogger().handlers if isinstance(item, LineHandler)), None)


def configure_logging(
    *, log_format: LogFormat = "auto", debug: bool = False, stream: TextIO | None = None
) -> Logging:
    """Write the log of every logger of the process, including those of libraries, to stderr.

    Adds one handler to the root logger, or replaces the one that an earlier call added. Other handlers stay,
    and get every record too. The root's level becomes INFO, or DEBUG with `debug`. Call it once, at the start
    of the process: loggers that have been used keep their earlier format.
    """
    out = real_stream(sys.stderr) if stream is None else stream
    as_json = log_format == "json" or (log_format == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        merge_run,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Not the renderer that shows local variables, because those include configs and connections.
    last: list[Processor] = [
        structlog.processors.ExceptionRenderer(_traceback),
        *((_JsonLine(),) if as_json else (_keep_event, _fitting)),
    ]
    if not as_json:
        last.append(
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        )
    level = logging.DEBUG if debug else logging.INFO
    of_that_name = structlog.stdlib.LoggerFactory([__name__])  # used for loggers without a name
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=lambda *names: _EventLogger(of_that_name(*names), as_json=as_json),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = LineHandler(out, Logging(as_json=as_json, debug=debug), renderer=last[-1])
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for earlier in [item for item in root.handlers if isinstance(item, LineHandler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    for chatty in ("asyncio", "aiosqlite", "httpx", "httpcore", "uvicorn.access", "uvicorn.error", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return handler.chosen


class LineHandler(logging.StreamHandler[TextIO]):
    """The handler that `configure_logging` adds.

    `lines` are rendered already, each with its end; they are written before the next record, or by
    `write_lines`.
    """

    def __init__(self, stream: TextIO, chosen: Logging, *, renderer: Processor) -> None:
        super().__init__(stream)
        self.chosen = chosen
        self.renderer = renderer
        self.lines: deque[str] = deque()

    def emit(self, record: logging.LogRecord) -> None:
        self.write_lines()
        super().emit(record)

    def flush(self) -> None:
        """Write what was put into `lines`, as at the end of the process."""
        self.write_lines()
        super().flush()

    def write_lines(self) -> None:
        if not self.lines:
            return
        with self.lock or nullcontext():
            taken = []
            while self.lines:  # one by one: a line that is added meanwhile is not lost
                taken.append(self.lines.popleft())
            with suppress(Exception):  # as in `handleError`
                self.stream.write("".join(taken))
                super().flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the library's
        """Ignore a line that cannot be written: the stream may be closed, or its disk full."""
        with suppress(Exception):
            super().handleError(record)


def only_handler(logger: logging.Logger, level: int) -> LineHandler | None:
    """The handler that alone gets what `logger` logs, as JSON, so that it can be given lines directly.

    None if there are others, or a filter, or if they are not JSON.
    """
    if not logger.isEnabledFor(level) or logger.filters:
        return None
    handlers = list(logger.handlers)
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
        handlers += logger.handlers
    if len(handlers) != 1 or not isinstance(handlers[0], LineHandler):
        return None
    handler = handlers[0]
    processors = structlog.get_config()["processors"]
    plain = handler.chosen.as_json and handler.level <= level and not handler.filters
    return handler if plain and processors and processors[-1] is handler.renderer else None


def real_stream(stream: TextIO) -> TextIO:
    """The stream beneath one whose lines are turned into events."""
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
"""Fields of an event that are always written, however little of it fits."""


def event_line(event: Mapping[Any, object]) -> str:
    """The event as one line of JSON, at most `LINE` bytes, whatever it holds."""
    try:
        line = _ENCODER.encode(event)
    except (ValueError, TypeError, RecursionError):  # circular, too deep, NaN, or keys that are not strings
        line = ""
    if line and len(line) <= LINE:
        return line
    shortened = {excerpt(str(name), limit=_NAME): value for name, value in event.items()}
    others = [name for name in shortened if name not in _OWN][:_FIELDS]
    for budget in _BUDGETS:
        named = [name for name in shortened if name in _OWN] + others
        line = _ENCODER.encode({name: _short(shortened[name], budget) for name in named})
        if len(line) <= LINE:
            return line
    return _ENCODER.encode(
        {name: _short(shortened[name], _BUDGETS[-1]) for name in shortened if name in _OWN}
    )


def _short(value: object, budget: int) -> object:
    """`value` as a JSON value of about `budget` bytes."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return excerpt(value if isinstance(value, str) else repr_text(value), limit=budget)


class _JsonLine:
    """Renders an event as one line of JSON; a record of the standard library goes to the log of its run.

    An `_EventLogger` gives the run of its events what it writes.
    """

    def __call__(self, logger: Any, level: str, event: EventDict) -> str:
        line = event_line(event)
        if not isinstance(logger, _EventLogger):
            log = current_log()
            if log is not None and _number(level) >= logging.INFO:
                log.add(line)
        return line


def _keep_event(logger: Any, level: str, event: EventDict) -> EventDict:
    """Give an event to the log of its run, where the process writes its log as text."""
    log = current_log()
    if log is None or _number(level) < logging.INFO:
        return event
    # Records of the standard library's loggers arrive after their loggers have let them pass.
    if not isinstance(logger, _EventLogger) or logger.writes(_number(level)):
        log.add(event_line(event))
    return event


def _number(level: str) -> int:
    return _LEVELS.get(level, logging.INFO)


_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}


def _fitting(_logger: object, _name: str, event: EventDict) -> EventDict:
    """The event with its fields shortened to a readable length."""
    for name, value in event.items():
        shown = value if isinstance(value, str) else repr_text(value)
        if len(shown) > _BUDGETS[0]:
            event[name] = excerpt(shown, limit=LIMIT if name == "exception" else _BUDGETS[0])
    return event


def _traceback(exc_info: ExcInfo) -> str:
    return traceback_text(exc_info[1])


_UNSET = MappingProxyType(
    dict.fromkeys(("args", "exc_info", "exc_text", "stack_info"))
    | dict.fromkeys(("pathname", "filename", "module", "funcName"), "")
    | dict.fromkeys(("lineno", "thread", "process", "relativeCreated"), 0)
    | dict.fromkeys(("threadName", "processName", "taskName"), "")
)


class _Event(logging.LogRecord):
    """An event that is already rendered.

    Its source location is not determined: that would cost as much as everything else, and an event has a
    name.
    """

    def __init__(self, name: str, level: int, text: str, *, created: float) -> None:
        self.__dict__.update(_UNSET)
        self.name = name
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.msg = text
        self.created = created
        self.msecs = created % 1 * 1000


class _EventLogger:
    """Passes events to the standard library's logger of the same name, and JSON to the log of their run."""

    def __init__(self, logger: logging.Logger, *, as_json: bool) -> None:
        self.name = logger.name
        self._as_json = as_json
        self._logger = logger
        self._now = SystemClock().now

    def debug(self, text: str) -> None:
        self._emit(logging.DEBUG, text)

    def info(self, text: str) -> None:
        self._emit(logging.INFO, text)

    def warning(self, text: str) -> None:
        self._emit(logging.WARNING, text)

    def error(self, text: str) -> None:
        self._emit(logging.ERROR, text)

    def critical(self, text: str) -> None:
        self._emit(logging.CRITICAL, text)

    def writes(self, level: int) -> bool:
        """Whether an event of this level is written."""
        return self._logger.isEnabledFor(level)

    def _emit(self, level: int, text: str) -> None:
        if self._logger.isEnabledFor(level):
            if self._as_json and level >= logging.INFO and (log := current_log()) is not None:
                log.add(text)
            self._logger.handle(_Event(self.name, level, text, created=self._now().timestamp()))


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Formats the records of libraries."""

    def format(self, record: logging.LogRecord) -> str:
        return str(record.msg) if isinstance(record, _Event) else super().format(record)
