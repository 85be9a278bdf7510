"""The life of schedules on virtual time.

The rows, the leader and what follows from its decisions are those of `piko.simulation`. Handlers are not
called: each run ends as the test says, after as long as the test says; by default it succeeds at once.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from piko.app import PikoApp
from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.configs import ConfigBook
from piko.catalog.jobs import assess
from piko.core.types import JobStatus, RunState
from piko.decisions import effects, events
from piko.errors import InputError, did_you_mean
from piko.model.runs import Run
from piko.model.schedules import ScheduleRow
from piko.simulation.simulation import Simulation
from piko.testing.declared_rows import (
    Manifests,
    config_of,
    edited_columns,
    inserted,
    resources_of,
    schedule_of,
)
from piko.testing.instants import Instant, instant
from piko.testing.timeline_runs import TimelineRun
from piko_operator.resources import PikoJobConfig, PikoSchedule

_LEASE = timedelta(seconds=15)
_UNUSABLE = {JobStatus.INVALID, JobStatus.UNREGISTERED}


class Timeline:
    """Schedules of an app, from `start` on; time passes by `advance` alone.

    Example:
        timeline = Timeline(app, "schedules.yaml", start="2026-03-01T00:00Z")
        timeline.fail("sync_orders", times=2)
        timeline.advance(days=1)
        assert timeline.watermark("sync_orders") == timeline.now

    - `app`: declares the jobs.
    - `manifests`: a file or folder of resources, their text, or resources as dicts.
    - `start`: the instant at which the rows are written.
    - `timezone`: of schedules that name none, as the setting of that name.
    - `max_concurrent_runs`: as the setting of that name.

    Raises `ManifestError` for what is wrong in a file, and `InputError` for a schedule that cannot be used,
    such as one of a job that `app` does not have.
    """

    def __init__(
        self,
        app: PikoApp,
        manifests: Manifests = (),
        *,
        start: Instant,
        timezone: str = "UTC",
        max_concurrent_runs: int = 1000,
    ) -> None:
        app.used = True
        self._registry = app.registry
        self._timezone = timezone
        self._configs = ConfigBook(registry=app.registry)
        self._durations: dict[str, timedelta] = {}
        self._failures: Counter[str] = Counter()
        self._doomed: set[tuple[str, datetime]] = set()
        self._ending: list[tuple[datetime, int, str]] = []
        self._too_long: set[str] = set()
        self._numbers = itertools.count()
        self._running: dict[str, Run] = {}
        self._started: dict[str, datetime] = {}
        self._ended: dict[str, datetime] = {}
        self._seen = 0
        self._simulation = Simulation(
            rows=AssessedRows(),
            configs=self._configs,
            now=instant(start),
            max_concurrent_runs=max_concurrent_runs,
            observe=self._observe,
            read_again=self._read_again,
        )
        self._simulation.take_over()
        for resource in resources_of(manifests):
            if isinstance(resource, PikoSchedule):
                self._learn(schedule_of(resource, now=self.now))
            elif isinstance(resource, PikoJobConfig):
                self._configs.observe([config_of(resource, now=self.now)])
        self._simulation.look(self._simulation.rows)
        self._settle()

    # ---- time -----------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The present instant, in UTC."""
        return self._simulation.now

    def advance(
        self, duration: timedelta | None = None, *, until: Instant | None = None, **units: float
    ) -> None:
        """Let time pass: by `duration`, `until` an instant, or by units as `timedelta` has them: `hours=3`.

        Raises `InputError` if that is not exactly one of them, or lies in the past.
        """
        if (duration is not None) + (until is not None) + bool(units) != 1:
            raise InputError("advance: expected one of a duration, until=…, or units such as hours=3")
        moment = instant(until) if until is not None else self.now + (duration or timedelta(**units))
        if moment < self.now:
            raise InputError(f"advance: {moment.isoformat()} has passed; it is {self.now.isoformat()}")
        while True:
            self._settle()
            following = self._simulation.next_moment()
            if self._ending and (following is None or self._ending[0][0] < following):
                following = self._ending[0][0]
            if following is None or following > moment:
                break
            self._simulation.now = max(self.now, following)
        self._simulation.now = moment
        self._settle()

    def kill_leader(self, *, away: timedelta = _LEASE) -> None:
        """The replica that leads dies, with all that it runs; `away` later another one takes over.

        Its runs are `LOST`, and run again where attempts are left.
        """
        orphans = list(self._running.values())
        self._running.clear()
        self._ending.clear()
        self._read_again(self._simulation.rows)  # the next leader knows what the tables say, and no more
        self._simulation.away(away)
        lost = [(run, "its replica died") for run in orphans]
        self._simulation.feed(events.UnknownRunsFound(runs=orphans, lost=lost, now=self.now))
        self._settle()

    # ---- what handlers do -----------------------------------------------------------------------------

    def takes(self, job_id: str, duration: timedelta) -> None:
        """Runs of the job that start from now on take so long; longer than the timeout ends as `TIMEOUT`."""
        self._known(job_id)
        self._durations[job_id] = duration

    def fail(self, job_id: str, *, times: int = 1, at: Instant | None = None) -> None:
        """Let runs of the job fail: the next `times` to end, or each attempt at the due time `at`."""
        self._known(job_id)
        if at is not None:
            self._doomed.add((job_id, instant(at)))
        else:
            self._failures[job_id] += times

    # ---- what people do -------------------------------------------------------------------------------

    def schedule(self, job_id: str, schedule: dict[str, Any], **columns: Any) -> None:
        """Insert a row by SQL: `schedule("sync", {"cron": "0 * * * *"}, timezone="Asia/Shanghai")`.

        - `job_id`: the job.
        - `schedule`: as `spec.schedule` of a resource.
        - `columns`: further columns of `scheduled_job`.
        """
        edited = edited_columns({"schedule": schedule, **columns})
        self._learn(inserted({"job_id": job_id, **edited}, now=self.now))
        self._look(job_id)

    def edit(self, job_id: str, **columns: Any) -> None:
        """Update columns of the job's row by SQL: `enabled=False`, or `schedule={"cron": "0 6 * * *"}`."""
        self._write(job_id, edited_columns(columns))

    def set_watermark(self, job_id: str, watermark: Instant | None) -> None:
        """Set `last_data_time` of the job's row by SQL."""
        moment = None if watermark is None else instant(watermark)
        self._write(job_id, {"last_data_time": moment})

    def delete(self, job_id: str) -> None:
        """Delete the job's row."""
        self._known(job_id)
        self._simulation.database.delete(job_id)
        self._look(job_id)

    # ---- what is --------------------------------------------------------------------------------------

    def runs(self, job_id: str | None = None, *, state: RunState | str | None = None) -> list[TimelineRun]:
        """Runs and due times that did not run, by due time and attempt; of one job, or in one state."""
        database = self._simulation.database
        found = [self._shown(run) for each in RunState for run in database.in_state(each)]
        found.extend(
            TimelineRun(
                job_id=item.job_id,
                scheduled_time=item.first,
                state=item.state,
                trigger_type=item.trigger_type,
                through=item.through,
                count=item.count,
                reason=item.reason,
            )
            for item in database.passed_over
        )
        chosen = [
            run for run in found if job_id in (None, run.job_id) and (state is None or run.state == state)
        ]
        return sorted(chosen, key=lambda run: (run.scheduled_time, run.job_id, run.attempt))

    def watermark(self, job_id: str) -> datetime | None:
        """Up to where the data of the job is done."""
        self._known(job_id)
        return self._simulation.database.watermark(job_id)

    def next_run(self, job_id: str) -> datetime | None:
        """When the job is due next; None: never, as things are."""
        self._known(job_id)
        return self._simulation.database.states[job_id].next_run_at

    def status(self, job_id: str) -> str:
        """The job's status, as in `job_state`: `Scheduled`, `Disabled`, `Completed`, …"""
        self._known(job_id)
        return str(self._simulation.database.states[job_id].status)

    # ---- insides --------------------------------------------------------------------------------------

    def _shown(self, run: Run) -> TimelineRun:
        return TimelineRun(
            job_id=run.job_id,
            scheduled_time=run.scheduled_time,
            state=run.state,
            attempt=run.attempt,
            trigger_type=run.trigger_type,
            window=run.window,
            started_at=self._started.get(run.run_id),
            ended_at=self._ended.get(run.run_id),
        )

    def _known(self, job_id: str) -> None:
        rows = self._simulation.rows
        if job_id not in rows:
            near = did_you_mean(job_id, list(rows)) or f"; there are {', '.join(sorted(rows)) or 'none'}"
            raise InputError(f"job {job_id!r} has no schedule here{near}")

    def _learn(self, row: ScheduleRow, *, seen_at: datetime | None = None) -> None:
        assessed = assess(row, registry=self._registry, timezone=self._timezone)
        if assessed.status in _UNUSABLE:
            raise InputError(f"schedule of {row.job_id!r}: {assessed.message}")
        self._simulation.rows[row.job_id] = replace(assessed, seen_at=seen_at or self.now)
        self._simulation.database.watermarks.pop(row.job_id, None)

    def _write(self, job_id: str, columns: dict[str, Any]) -> None:
        self._known(job_id)
        before = self._simulation.rows[job_id].row
        known = {"last_data_time": self._simulation.database.watermark(job_id), "version": before.version + 1}
        self._learn(replace(before, **{"updated_at": self.now, **known, **columns}))
        self._look(job_id)

    def _read_again(self, job_ids: Iterable[str]) -> None:
        """Rows are known with the watermarks that runs have moved meanwhile."""
        rows = self._simulation.rows
        for job_id in [job_id for job_id in job_ids if job_id in rows]:
            known = rows[job_id]
            watermark = self._simulation.database.watermark(job_id)
            if watermark != known.row.last_data_time:
                self._learn(replace(known.row, last_data_time=watermark), seen_at=known.seen_at)

    def _look(self, job_id: str) -> None:
        self._simulation.look([job_id])
        self._settle()

    def _settle(self) -> None:
        """All that is to happen at this moment happens."""
        while True:
            self._simulation.changed |= self._simulation.doubted
            self._simulation.doubted.clear()
            self._simulation.work()
            self._begin()
            if not (self._cancel() or self._end()):
                return

    def _begin(self) -> None:
        begun: Sequence[tuple[datetime, Run]] = self._simulation.begun[self._seen :]
        self._seen += len(begun)
        for moment, run in begun:
            self._started[run.run_id] = moment
            self._running[run.run_id] = run
            takes = self._durations.get(run.job_id, timedelta(0))
            timeout_s = self._simulation.job_of(run).timeout_s
            if timeout_s is not None and takes.total_seconds() > timeout_s:
                takes = timedelta(seconds=timeout_s)
                self._too_long.add(run.run_id)
            heapq.heappush(self._ending, (moment + takes, next(self._numbers), run.run_id))

    def _cancel(self) -> bool:
        asked = [self._running[run_id] for run_id in self._simulation.cancelled if run_id in self._running]
        self._simulation.cancelled.clear()
        self._finish((run, RunState.CANCELLED) for run in asked)
        return bool(asked)

    def _end(self) -> bool:
        ended: list[Run] = []
        while self._ending and self._ending[0][0] <= self.now:
            _, _, run_id = heapq.heappop(self._ending)
            if run_id in self._running:
                ended.append(self._running[run_id])
        self._finish((run, self._end_of(run)) for run in ended)
        return bool(ended)

    def _end_of(self, run: Run) -> RunState:
        if run.run_id in self._too_long:
            return RunState.TIMEOUT
        if run.due_time in self._doomed:
            return RunState.FAILED
        if self._failures[run.job_id] > 0:
            self._failures[run.job_id] -= 1
            return RunState.FAILED
        return RunState.SUCCESS

    def _finish(self, ends: Iterable[tuple[Run, RunState]]) -> None:
        for run, state in ends:
            del self._running[run.run_id]
            self._ended[run.run_id] = self.now
            self._simulation.finish(run, state)

    def _observe(self, effect: effects.Effect) -> None:
        if isinstance(effect, effects.Conclude):
            self._ended[effect.outcome.run.run_id] = self.now
