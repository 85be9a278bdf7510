"""The first sight: what the person on call has to know before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.store.reports.jobs import BOUND, JobCounts
from piko.store.reports.overview import JobReport
from piko.store.reports.replicas import LeaseReport, ReplicaReport, ServerReport
from piko.store.reports.runs import RunCounts
from piko.store.reports.trouble import Trouble
from piko.text import counted, span
from piko.web.views import links
from piko.web.views.words import Mark, Moment, Tone, first_line, moment, owner

_CLOCKS_S = 5.0
_TONES = {"unregistered": Tone.WARN, "waits_for_config": Tone.WARN, "silent_replica": Tone.WARN}
_EXACT = ("Dead letters", "Paused", "Jobs")
_PRODUCTS = {"sqlite": "SQLite", "mysql": "MySQL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A part of the installation: its name, how it is, and what else is known of it."""

    name: str
    mark: Mark
    detail: str = ""
    since: Moment | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A number, with the list that it counts."""

    name: str
    count: str
    tone: Tone
    link: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A trouble: whose, in one sentence, since when, what was said last, and what cures it."""

    subject: str
    link: str
    owner: str
    mark: Mark
    sentence: str
    since: Moment | None
    error: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A job that is due next."""

    job_id: str
    link: str
    due: Moment | None


def leader_parts(leaders: Sequence[LeaseReport], now: datetime) -> list[Tile]:
    """The leader, or each of them if several groups of replicas share the database."""
    if not leaders:
        return [
            Tile(
                name="Leader",
                mark=Mark(text="none yet", tone=Tone.BAD),
                detail="No replica has led: nothing is scheduled. Start one.",
            )
        ]
    return [_leader(leader, now, alone=len(leaders) == 1) for leader in leaders]


def _leader(leader: LeaseReport, now: datetime, *, alone: bool) -> Tile:
    name = "Leader" if alone else f"Leader {leader.name}"
    if leader.leads:
        return Tile(
            name=name,
            mark=Mark(text=leader.holder_host or leader.holder or "", tone=Tone.GOOD),
            detail=f"epoch {leader.epoch}",
            since=moment(leader.acquired_at, now),
        )
    why = (
        "The last leader released its lease"
        if leader.holder is None
        else f"{leader.holder_host or leader.holder} went silent"
    )
    return Tile(
        name=name,
        mark=Mark(text="none", tone=Tone.BAD),
        detail=f"{why} (epoch {leader.epoch}): nothing is scheduled until a replica leads.",
        since=moment(leader.renewed_at, now),
    )


def replica_part(replicas: Sequence[ReplicaReport]) -> Tile:
    """The replicas in one line: how many live, their releases, and which are silent."""
    living = [item for item in replicas if item.stopped_at is None and not item.silent]
    silent = [item for item in replicas if item.silent]
    releases = sorted({item.version for item in living})
    detail = ", ".join(releases)
    if silent:
        detail += f"{'; ' if detail else ''}silent: {', '.join(sorted({item.host for item in silent})[:3])}"
    if not living:
        mark = Mark(text="none alive", tone=Tone.BAD)
    else:
        tone = Tone.WARN if silent or len(releases) > 1 else Tone.GOOD
        mark = Mark(text=f"{len(living)} alive", tone=tone)
    return Tile(name="Replicas", mark=mark, detail=detail, link="replicas")


def server_parts(server: ServerReport, now: datetime) -> list[Tile]:
    """The database, and the operators that write to it."""
    apart = abs((server.now - now).total_seconds())
    number = server.release.split("-")[0]
    product = "MariaDB" if "mariadb" in server.release.lower() else _PRODUCTS.get(server.kind, server.kind)
    database = Tile(
        name="Database",
        mark=Mark(text="answers", tone=Tone.GOOD if apart < _CLOCKS_S else Tone.WARN),
        detail=f"{product} {number}"
        + ("" if apart < _CLOCKS_S else f"; its clock is {span(apart)} apart from ours"),
    )
    if not server.operators:
        return [database, Tile(name="Operator", mark=Mark(text="none", tone=Tone.QUIET), detail="SQL only")]
    silent = sorted(item.cluster for item in server.operators if item.silent)
    mark = Mark(text=counted(len(server.operators), "cluster"), tone=Tone.WARN if silent else Tone.GOOD)
    names = ", ".join(item.cluster for item in server.operators)
    detail = f"{names}; silent: {', '.join(silent[:3])}" if silent else names
    return [database, Tile(name="Operator", mark=mark, detail=detail)]


def counters(jobs: JobCounts, runs: RunCounts, replicas: Sequence[ReplicaReport]) -> list[Counter]:
    """The counters, the gravest first."""
    heard = [item for item in replicas if item.stopped_at is None]
    refused = sum(state.dead_letters for item in heard for state in item.sinks)
    return [
        _counter("Late", jobs.late, Tone.BAD, "jobs?late=true", "due, and not started"),
        _counter("Failing", jobs.failing, Tone.BAD, "jobs?failing=true", "the last run did not succeed"),
        _counter("Invalid", jobs.invalid, Tone.BAD, "jobs?state=Invalid", "the row cannot be understood"),
        _counter(
            "Waiting", jobs.waiting, Tone.WARN, "jobs?state=WaitingForConfig", "no valid config is in force"
        ),
        _counter(
            "Unregistered", jobs.unregistered, Tone.WARN, "jobs?state=Unregistered", "no replica has the code"
        ),
        _counter("Dead letters", refused, Tone.BAD, "dead-letters", "records that sinks refused"),
        _counter("Missed", runs.missed, Tone.WARN, "runs?state=MISSED", "due times of the last 24 hours"),
        _counter("Running", runs.running, Tone.BUSY, "runs?state=RUNNING", "runs in progress"),
        _counter("Queued", runs.queued, Tone.QUIET, "runs?state=QUEUED", "runs that wait to start"),
        _counter("Paused", jobs.disabled, Tone.QUIET, "jobs?enabled=false", "schedules that are off"),
        _counter("Jobs", jobs.jobs, Tone.QUIET, "jobs", "all of them"),
    ]


def _counter(name: str, count: int, tone: Tone, link: str, title: str) -> Counter:
    shown = f"{count:,}" if count < BOUND or name in _EXACT else f"{BOUND:,}+"
    return Counter(name=name, count=shown, tone=tone if count else Tone.QUIET, link=link, title=title)


def need(trouble: Trouble, now: datetime) -> Need:
    """A trouble as a line of what needs someone."""
    return Need(
        subject=trouble.subject,
        link=_place(trouble),
        owner="" if trouble.job_id is None else owner(trouble.managed_by),
        mark=Mark(text=trouble.kind.replace("_", " ").capitalize(), tone=_TONES.get(trouble.kind, Tone.BAD)),
        sentence=f"{trouble.text[:1].upper()}{trouble.text[1:]}.",
        since=moment(trouble.since, now),
        error=first_line(trouble.error),
        remedy=trouble.remedy,
    )


def _place(trouble: Trouble) -> str:
    """The page that shows more of a trouble."""
    if trouble.kind == "dead_letters":
        return links.letters(sink=trouble.subject.removeprefix("sink "))
    if trouble.job_id is not None:
        return links.job(trouble.job_id)
    return "sinks" if trouble.kind == "sink_stuck" else "replicas"


def coming(job: JobReport, now: datetime) -> Coming:
    """When `job` is due."""
    return Coming(job_id=job.job_id, link=links.job(job.job_id), due=moment(job.next_run_at, now))
