"""Logs are events: a name and its facts on one line, JSON in a container, readable on a terminal.

An event is written out before it becomes a record of the standard library's logging, which costs half as much
as the way round by its formatters: two events for each run are a good part of what a run costs. Handlers of
others, a collector of errors for instance, get the record all the same.
"""

from __future__ import annotations

import json
import logging
import sys
from types import MappingProxyType
from typing import Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from piko.clock import SystemClock

LogFormat = Literal["auto", "json", "text"]


def configure_logging(
    *, log_format: LogFormat = "auto", debug: bool = False, stream: TextIO | None = None
) -> None:
    """Send every logger of the process, those of libraries included, through one formatter to stderr.

    Once in a process, at its start: loggers that have spoken keep the format and the level of before.
    """
    out = sys.stderr if stream is None else stream
    as_json = log_format == "json" or (log_format == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Not the renderer that shows local variables: among them are configs and connections.
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_as_json)]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    level = logging.DEBUG if debug else logging.INFO
    of_that_name = structlog.stdlib.LoggerFactory([__name__])  # without a name: of the module that asks
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=lambda *names: _EventLogger(of_that_name(*names)),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("asyncio", "aiosqlite", "httpx", "httpcore", "uvicorn.access", "uvicorn.error", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose methods take an event name and its facts as keywords."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


_ENCODER = json.JSONEncoder(default=repr)


def _as_json(event: object, **_: object) -> str:
    return _ENCODER.encode(event)


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
