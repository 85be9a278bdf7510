"""Histories of jobs and people: what is declared, and what happens when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from piko import JobContext, PikoApp

START = datetime(2026, 3, 2, tzinfo=UTC)
LASTS = timedelta(minutes=53, seconds=50, milliseconds=900)
"""No schedule has a due time in the last of these minutes: what is late is seen to be late by then."""
AWAY = timedelta(seconds=200)
"""From the death of a leader until another one takes over: lease and heartbeats are shorter."""

Schedule = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredJob:
    """A job and its row. `takes_s`: how long its handler takes at first."""

    job_id: str
    stateful: bool
    schedule: Schedule
    columns: dict[str, Any]
    takes_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """`what` happens at `at`, seconds after `START`, to the job `job_id`; see `happen` of the worlds."""

    at: float
    what: str
    job_id: str
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Jobs, and what happens to them in the order of time."""

    jobs: list[DeclaredJob]
    happenings: list[Happening] = field(default_factory=list)
    places: int = 1000


@dataclass(frozen=True, slots=True, order=True)
class SeenRun:
    """A run or due times that were passed over, as a world shows them."""

    job_id: str
    due: datetime
    attempt: int
    state: str
    window: tuple[datetime, datetime] | None
    through: datetime | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is left at the end of a history."""

    runs: list[SeenRun]
    watermarks: dict[str, datetime | None]
    statuses: dict[str, str]


class Handlers:
    """What handlers do: how long they take, and which of their ends fail."""

    def __init__(self, history: History) -> None:
        self.takes_s = {job.job_id: job.takes_s for job in history.jobs}
        self.failures: dict[str, int] = {job.job_id: 0 for job in history.jobs}

    def fails(self, job_id: str) -> bool:
        """Whether a run of the job that ends now fails."""
        left = self.failures[job_id]
        self.failures[job_id] = max(0, left - 1)
        return left > 0


def app_of(history: History, handler: Any = None) -> PikoApp:
    """An app with the jobs of `history`."""

    async def nothing(ctx: JobContext, scheduled_time: datetime) -> None: ...

    app = PikoApp("trial")
    for job in history.jobs:
        app.job(job_id=job.job_id, stateful=job.stateful)(handler or nothing)
    return app


# ---- strategies ---------------------------------------------------------------------------------------

SCHEDULES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"interval": {"every": "2m"}},
        {"interval": {"every": "5m"}},
        {"interval": {"every": "7m"}},
        {"cron": "*/3 * * * *"},
        {"cron": "*/10 * * * *"},
        {"cron": "0,1,2,30 * * * *"},
    ]
)
SECONDS = st.sampled_from([0.0, 0.0, 17.13, 100.37, 190.41, 401.59])
COMMON = {
    "max_attempts": st.integers(1, 3),
    "retry_backoff_s": st.sampled_from([10.61, 45.37]),
    "misfire_grace_s": st.sampled_from([0.0, 100.0, 300.0]),
    "priority": st.integers(0, 2),
    "timeout_s": st.sampled_from([None, 149.93]),
}
GROUPS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"concurrency_group": "g"}, {"concurrency_group": "g", "concurrency_limit": 1}]
)
OF_INSTANTS = {
    "overlap_policy": st.sampled_from(["skip", "queue", "queue_all", "replace", "allow"]),
    "coalesce": st.booleans(),
    "max_instances": st.integers(1, 2),
}
OF_WINDOWS = {
    "backfill_policy": st.sampled_from([None, "CATCH_UP", "SKIP"]),
    "max_lookback_s": st.sampled_from([None, 600.0]),
    "backfill_max_windows": st.sampled_from([None, 2]),
}


@st.composite
def declared_jobs(draw: st.DrawFn, job_id: str) -> DeclaredJob:
    stateful = draw(st.booleans())
    optional: dict[str, st.SearchStrategy[Any]] = {**COMMON, **(OF_WINDOWS if stateful else OF_INSTANTS)}
    columns: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=optional))
    return DeclaredJob(
        job_id=job_id,
        stateful=stateful,
        schedule=draw(SCHEDULES),
        columns=columns | draw(GROUPS),
        takes_s=draw(SECONDS),
    )


@st.composite
def happenings(draw: st.DrawFn, jobs: list[DeclaredJob], at: float) -> Happening:
    job = draw(st.sampled_from(jobs))
    kinds = [
        "fail",
        "takes",
        "pause",
        "resume",
        "edit",
        "reschedule",
        "kill",
        *(["watermark"] * 2 * job.stateful),
    ]
    what = draw(st.sampled_from(kinds))
    value: Any = None
    if what == "fail":
        value = draw(st.integers(1, 3))
    elif what == "takes":
        value = draw(SECONDS)
    elif what == "edit":
        of_kind = OF_WINDOWS if job.stateful else OF_INSTANTS
        name = draw(st.sampled_from(sorted({**COMMON, **of_kind})))
        value = {name: draw({**COMMON, **of_kind}[name])}
    elif what == "reschedule":
        value = draw(SCHEDULES)
    elif what == "watermark":
        value = START + timedelta(seconds=at // 60 * 60) + timedelta(minutes=draw(st.integers(-40, 5)))
    return Happening(at=at, what=what, job_id=job.job_id, value=value)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Up to three jobs, and up to eight happenings at moments at which nothing is due."""
    jobs = [draw(declared_jobs(name)) for name in "abc"[: draw(st.integers(1, 3))]]
    minutes = sorted(draw(st.sets(st.integers(0, 40), max_size=8)))
    found: list[Happening] = []
    at = 0.0
    for minute in minutes:
        at = max(at, minute * 60 + draw(st.sampled_from([7.25, 31.5, 53.75])))
        happening = draw(happenings(jobs, at))
        found.append(happening)
        at += AWAY.total_seconds() + 1.0 if happening.what == "kill" else 1.0
    return History(jobs=jobs, happenings=found, places=1000)
