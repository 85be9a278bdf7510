"""Replicas: a line of the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.store.reports.replicas import LeaseReport, ReplicaReport
from piko.text import span
from piko.web.views.words import Mark, Moment, Tone, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLine:
    """A replica in a list."""

    host: str
    instance_id: str
    mark: Mark
    leads: bool
    app: str
    version: str
    started: Moment | None
    heard: str
    jobs: int


def replica_line(item: ReplicaReport, leaders: Sequence[LeaseReport], now: datetime) -> ReplicaLine:
    """`item` as a line of the list."""
    if item.stopped_at is not None:
        mark = Mark(text="Stopped", tone=Tone.QUIET)
    elif item.silent:
        mark = Mark(text="Silent", tone=Tone.BAD)
    else:
        mark = Mark(text="Alive", tone=Tone.GOOD)
    return ReplicaLine(
        host=item.host,
        instance_id=item.instance_id,
        mark=mark,
        leads=any(leader.leads and leader.holder == item.instance_id for leader in leaders),
        app=item.app,
        version=item.version,
        started=moment(item.started_at, now),
        heard=f"{span(item.silent_s)} ago",
        jobs=item.jobs,
    )
