"""The names by the paths of the modules in which they are at home."""

from __future__ import annotations

import piko
from piko.core.context import JobContext
from piko.core.discovery import autodiscover
from piko.core.resource import resource
from piko.core.types import BackfillPolicy, DataInterval
from piko.persistence.intent import WriteIntent
from piko.persistence.sink_base import ResultSink, TypedSink, on

print(
    piko.BackfillPolicy is BackfillPolicy,
    piko.DataInterval is DataInterval,
    piko.JobContext is JobContext,
    piko.ResultSink is ResultSink,
    piko.TypedSink is TypedSink,
    piko.WriteIntent is WriteIntent,
    piko.autodiscover is autodiscover,
    piko.on is on,
    piko.resource is resource,
)
