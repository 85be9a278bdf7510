"""The modules of a replica, loaded before its event loop runs.

They take a third of a second. A loop that runs already would stand still for as long: it answered no probe
and began no run. A program that only declares jobs, or tests a handler, does without them.
"""

from __future__ import annotations

import importlib

from piko.background.garbage import collecting_nothing
from piko.dsn import parse_dsn
from piko.tracing.traces import traces_in_use

_REPLICA = ("piko.replica.composition", "piko.replica.replica", "piko.serving.server")
_PAGE = ("piko.web.options", "piko.web.server")


def load_replica(dsn: str, *, page: bool) -> None:
    """Load what a replica on the database at `dsn` executes; with `page`, what serves the page, too.

    Raises `SettingsError` as `parse_dsn` does.
    """
    with collecting_nothing():
        for name in (*_REPLICA, *(_PAGE if page else ())):
            importlib.import_module(name)
        parse_dsn(dsn).get_dialect().import_dbapi()
        traces_in_use()  # what makes spans, in a program that has set up their provider
