"""What a test configures of logging ends with it, so that no other test writes to where that one looked.

`configure_logging` is meant to be called once in a process: a logger that was used keeps what it was made
with. A test process runs hundreds of programs, as it were, one after the other.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def restored() -> Iterator[None]:
    """On the way out: handlers and levels as on the way in, and structlog as if nobody had configured it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {
        name: item.level for name, item in root.manager.loggerDict.items() if isinstance(item, logging.Logger)
    }
    yield
    if not structlog.is_configured():
        return
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, item in root.manager.loggerDict.items():
        if isinstance(item, logging.Logger):
            item.setLevel(levels.get(name, logging.NOTSET))
    structlog.reset_defaults()
    _forget_first_use()


def _forget_first_use() -> None:
    """Let the loggers of modules be made again when they are used next."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").partition(".")[0] not in ("piko", "piko_operator", "tests"):
            continue
        for logger in vars(module).values():
            if type(logger) is type(structlog.get_logger()):
                vars(logger).pop("bind", None)
