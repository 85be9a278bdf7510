"""Tests of jobs, without a server: one run of a handler, and the life of a schedule on virtual time.

`run_job` calls one handler as a replica would, with config, resources, timeout and outcome. `Timeline` lets
months pass over a schedule: the decisions are those of a real leader, and nothing waits. Under pytest, the
fixtures `piko_run_job` and `piko_timeline` are there, and `pytest --piko-manifests DIR` makes each resource
in the files of a folder a test.

Names are imported when they are used: pytest loads the plugin in every project of an environment with Piko.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from piko.testing.inline_run import FinishedRun, run_job
    from piko.testing.timeline import Timeline
    from piko.testing.timeline_runs import TimelineRun

__all__ = ["FinishedRun", "Timeline", "TimelineRun", "run_job"]

_HOMES = MappingProxyType(
    {
        "FinishedRun": "piko.testing.inline_run",
        "Timeline": "piko.testing.timeline",
        "TimelineRun": "piko.testing.timeline_runs",
        "run_job": "piko.testing.inline_run",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
