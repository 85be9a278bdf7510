"""What has happened since the last look, and what is next: read from the rows, shown as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from piko.catalog.jobs import AssessedRow
from piko.core.types import JobStatus, RunState
from piko.dev.wall import WallClock
from piko.model.schedules import ScheduleRow
from piko.model.states import JobState
from piko.replica.running import RunningReplica
from piko.schedule.one_line import schedule_line
from piko.store.engine import Database
from piko.store.reports.history import EndedRun, RunHistory
from piko.store.runs import RunStore
from piko.store.states import StateStore

_OVERLAP = timedelta(seconds=5)
_LISTED_SINGLY = 3
_SUCCESS = RunState.SUCCESS
_BAD = (JobStatus.INVALID, JobStatus.UNREGISTERED, JobStatus.WAITING_FOR_CONFIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line; `details` follow it, indented."""

    subject: str
    text: str
    tone: str = ""
    details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """The state of one job."""

    job_id: str
    schedule: str
    status: str
    running: int
    last_state: str | None
    last_started_at: datetime | None
    last_duration_s: float | None
    next_run_at: datetime | None
    watermark: datetime | None
    message: str | None = None


class Journal:
    """Follows the runs of one database, from `since` on."""

    def __init__(
        self,
        *,
        database: Database,
        replica: RunningReplica,
        job_ids: Sequence[str],
        wall: WallClock,
        since: datetime,
    ) -> None:
        self._history = RunHistory(database=database)
        self._runs = RunStore(database=database)
        self._states = StateStore(database=database)
        self._replica = replica
        self._job_ids = job_ids
        self._wall = wall
        self._since = since
        self._known: dict[str, datetime] = {}
        self._running: frozenset[str] = frozenset()
        self._reported_running: frozenset[str] = frozenset()
        self._reported_schedules: dict[str, tuple[object, ...]] = {}
        self._reported_configs: dict[str, str] = {}
        self._last_error: dict[str, str | None] = {}

    async def look(self) -> tuple[list[Entry], list[JobLine]]:
        """The new entries, and the state of each job. Raises `DatabaseUnavailableError`."""
        ended = self._new(await self._history.ended_since(self._since))
        running = await self._runs.running()
        states = await self._states.read_all()
        entries = [*self._plan_entries(states), *self._ended_entries(ended, states)]
        now_running = frozenset(run.run_id for run in running)
        for run in running:
            if run.run_id in self._running and run.run_id not in self._reported_running:
                entries.append(
                    Entry(
                        subject=run.job_id, text=f"running, for {self._due(run.job_id, run.scheduled_time)}"
                    )
                )
                self._reported_running |= {run.run_id}
        self._running, self._reported_running = now_running, self._reported_running & now_running
        counts: dict[str, int] = {}
        for run in running:
            counts[run.job_id] = counts.get(run.job_id, 0) + 1
        return entries, self._lines(states, counts)

    # ---- runs --------------------------------------------------------------------------------------

    def _new(self, ended: Sequence[EndedRun]) -> list[EndedRun]:
        new = [run for run in ended if run.run_id not in self._known]
        self._known.update((run.run_id, run.finished_at) for run in new)
        if self._known:
            self._since = max(self._since, max(self._known.values()) - _OVERLAP)
            self._known = {key: moment for key, moment in self._known.items() if moment >= self._since}
        return new

    def _ended_entries(self, ended: Iterable[EndedRun], states: Mapping[str, JobState]) -> list[Entry]:
        entries = []
        for group in _grouped(ended):
            state = states.get(group[0].job_id)
            coming = None if state is None else state.next_run_at
            following = "" if coming is None else f"next {self._due(group[0].job_id, coming)}"
            if len(group) > _LISTED_SINGLY:
                entries.append(self._several(group, following))
                continue
            entries.extend(self._one(run, following if run is group[-1] else "") for run in group)
        return entries

    def _one(self, run: EndedRun, following: str) -> Entry:
        facts = [f"{run.state.value:<8}", self._covers(run)]
        if run.missed_count is not None and run.missed_count > 1:
            facts.append(f"and {run.missed_count - 1} more, up to {self._at(run.missed_through)}")
        if run.duration_s is not None:
            facts.append(_duration(run.duration_s))
        if run.attempt > 1:
            facts.append(f"attempt {run.attempt}")
        message, _, rest = (run.error or "").partition("\n")
        reported = self._last_error.get(run.job_id)
        self._last_error[run.job_id] = run.error
        if message:
            facts.append(message)
        if following:
            facts.append(following)
        return Entry(
            subject=run.job_id,
            text="  ".join(facts),
            tone=_tone(run.state),
            details=rest.strip() if rest and run.error != reported else None,
        )

    def _several(self, group: Sequence[EndedRun], following: str) -> Entry:
        first, last = group[0], group[-1]
        self._last_error.pop(first.job_id, None)
        begin, end = first.window_start or first.scheduled_time, last.window_end or last.scheduled_time
        total_s = sum(run.duration_s or 0 for run in group)
        span = f"{self._at(begin)} to {self._at(end)}"
        facts = [f"{first.state.value:<8}", f"{len(group)} runs, {span}", _duration(total_s), following]
        return Entry(subject=first.job_id, text="  ".join(filter(None, facts)), tone=_tone(first.state))

    def _covers(self, run: EndedRun) -> str:
        if run.window_start is None or run.window_end is None:
            return f"for {self._due(run.job_id, run.scheduled_time)}"
        return f"{self._at(run.window_start)} to {self._at(run.window_end)}"

    # ---- jobs --------------------------------------------------------------------------------------

    def _plan_entries(self, states: Mapping[str, JobState]) -> list[Entry]:
        """An entry for each job whose schedule or status has changed since the last report."""
        entries = []
        for job_id in self._reported_schedules.keys() - self._replica.assessed_rows.keys():
            del self._reported_schedules[job_id]
            entries.append(Entry(subject=job_id, text="no longer has a schedule"))
        for job_id, assessed in sorted(self._replica.assessed_rows.items()):
            state = states.get(job_id)
            if state is None or state.row_created_at != assessed.row.created_at:
                continue  # it belongs to an earlier row
            if state.observed_version != assessed.row.version:
                continue
            reported = (schedule_text(assessed.row), *_standing(assessed, state))
            if self._reported_schedules.get(job_id) == reported:
                continue
            self._reported_schedules[job_id] = reported
            schedule, status, message = reported
            following = "" if state.next_run_at is None else f", next {self._due(job_id, state.next_run_at)}"
            remark = f": {message}" if message else following
            entries.append(
                Entry(
                    subject=job_id,
                    text=f"{status}  {schedule}{remark}",
                    tone="red" if status in _BAD or (message and status == JobStatus.SCHEDULED) else "cyan",
                )
            )
        return [*entries, *self._config_entries()]

    def _config_entries(self) -> list[Entry]:
        """Problems with configs of jobs without a schedule; for other jobs, the schedule's entry has them."""
        notes = {
            job_id: note
            for job_id, note in sorted(self._replica.config_notes.items())
            if job_id not in self._replica.assessed_rows
        }
        new = [
            Entry(subject=job_id, text=note, tone="red")
            for job_id, note in notes.items()
            if self._reported_configs.get(job_id) != note
        ]
        self._reported_configs = notes
        return new

    def _lines(self, states: Mapping[str, JobState], running: Mapping[str, int]) -> list[JobLine]:
        lines = []
        for job_id in sorted({*self._job_ids, *self._replica.assessed_rows}):
            assessed, state = self._replica.assessed_rows.get(job_id), states.get(job_id)
            status, message = ("", None) if assessed is None else _standing(assessed, state)
            lines.append(
                JobLine(
                    job_id=job_id,
                    schedule="no schedule" if assessed is None else schedule_text(assessed.row),
                    status=status,
                    running=running.get(job_id, 0),
                    last_state=None if state is None else state.last_state,
                    last_started_at=None if state is None else state.last_started_at,
                    last_duration_s=None if state is None else state.last_duration_s,
                    next_run_at=None if state is None else state.next_run_at,
                    watermark=None if assessed is None else assessed.row.last_data_time,
                    message=message,
                )
            )
        return lines

    def _due(self, job_id: str, moment: datetime) -> str:
        assessed = self._replica.assessed_rows.get(job_id)
        job = None if assessed is None else assessed.job
        return self._wall.due(moment, None if job is None else job.schedule.zone)

    def _at(self, moment: datetime | None) -> str:
        return "?" if moment is None else self._wall.at(moment)


def _standing(assessed: AssessedRow, state: JobState | None) -> tuple[str, str | None]:
    """The status of a job, with the reason.

    If its row allows it to fire, the leader's state has more detail.
    """
    if assessed.status is JobStatus.SCHEDULED and state and state.observed_version == assessed.row.version:
        return state.status, state.message
    return assessed.status.value, assessed.message


def schedule_text(row: ScheduleRow) -> str:
    """A row's schedule on one line: `*/5 * * * *`, `interval every 10s`."""
    line = schedule_line(row.schedule_type, row.schedule_expr)
    return f"interval {line}" if line.startswith("every ") else line


def _grouped(ended: Iterable[EndedRun]) -> list[list[EndedRun]]:
    """Consecutive successes of one job as one group; every other run on its own."""
    groups: list[list[EndedRun]] = []
    latest: dict[str, list[EndedRun]] = {}
    for run in ended:
        group = latest.get(run.job_id)
        if group is not None and run.state is _SUCCESS and group[-1].state is _SUCCESS:
            group.append(run)
        else:
            latest[run.job_id] = group = [run]
            groups.append(group)
    return groups


def _tone(state: RunState) -> str:
    if state is _SUCCESS:
        return "green"
    return "yellow" if state in (RunState.SKIPPED, RunState.MISSED, RunState.CANCELLED) else "red"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
