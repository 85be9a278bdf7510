"""Piko: write jobs as async Python, schedule them with `kubectl apply` or SQL.

The names below are all that most jobs need. Each is imported when it is first asked for: the operator and the
command line import parts of this package, and need not pay for the whole of it.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from piko.first_process import end_like_any_other_process

if TYPE_CHECKING:
    from piko.app import PikoApp
    from piko.core.context import JobContext
    from piko.core.discovery import autodiscover
    from piko.core.hooks import JobFailure, JobLateness, JobRecovery
    from piko.core.resource import resource
    from piko.core.types import BackfillPolicy, DataInterval, Objective
    from piko.persistence.intent import WriteIntent
    from piko.persistence.sink_base import ResultSink, TypedSink, on

__all__ = [
    "BackfillPolicy",
    "DataInterval",
    "JobContext",
    "JobFailure",
    "JobLateness",
    "JobRecovery",
    "Objective",
    "PikoApp",
    "ResultSink",
    "TypedSink",
    "WriteIntent",
    "autodiscover",
    "on",
    "resource",
]

_MODULES = MappingProxyType(
    {
        "BackfillPolicy": "piko.core.types",
        "DataInterval": "piko.core.types",
        "JobContext": "piko.core.context",
        "JobFailure": "piko.core.hooks",
        "JobLateness": "piko.core.hooks",
        "JobRecovery": "piko.core.hooks",
        "Objective": "piko.core.types",
        "PikoApp": "piko.app",
        "ResultSink": "piko.persistence.sink_base",
        "TypedSink": "piko.persistence.sink_base",
        "WriteIntent": "piko.persistence.intent",
        "autodiscover": "piko.core.discovery",
        "on": "piko.persistence.sink_base",
        "resource": "piko.core.resource",
    }
)

end_like_any_other_process()


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
