"""When each job is looked at next, and what its state says of it: pure.

**Stateless jobs** have a cursor: instants up to it are dealt with. **Stateful jobs** have a watermark, and
their cursor only says which instant woke them last. At an instant the missing windows run one after the
other, each as soon as the one before has succeeded. A window that failed is tried again by its retry, or else
at the schedule's next instant. Nor does enabling a job run anything by
itself: at the next instant, `CATCH_UP` runs the windows that were missed meanwhile.

**A job that lacks its config** waits: nothing of it is claimed and its cursor stays, so that what came due
meanwhile is judged by the rules of every delay once the config is there. **A job of which the database
refuses something** waits, too, for a time that grows; see `refusals`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import JobStatus
from piko.decisions.beginning import Beginning
from piko.decisions.failed_windows import FailedWindows
from piko.decisions.notes import standing
from piko.decisions.open_runs import OpenRuns
from piko.decisions.outbox import Outbox
from piko.decisions.refusals import Refusals
from piko.decisions.replica_configs import ReplicaConfigs
from piko.decisions.timetable import Timetable
from piko.decisions.turns import Backlogs
from piko.decisions.watermarks import WatermarkBook
from piko.model.states import JobState
from piko.schedule import start_offset, why_silent


class Agenda:
    """The jobs' states under one term, and the timetable that follows from them."""

    def __init__(
        self, *, rows: AssessedRows, configs: ReplicaConfigs, progress: OpenRuns, outbox: Outbox
    ) -> None:
        self.states: dict[str, JobState] = {}
        self.timetable = Timetable()
        self.refusals = Refusals()
        self.watermarks = WatermarkBook()
        self.failed = FailedWindows()
        self.backlogs = Backlogs()
        self.unseen: dict[str, Beginning] = {}
        """Jobs with instants that came due before their row was seen, until that is recorded."""
        self.unwritten: set[str] = set()
        """Jobs whose state is to be written when their row is taken in next."""
        self._rows = rows
        self._configs = configs
        self._progress = progress
        self._outbox = outbox
        self._without_config: set[str] = set()

    # ---- what holds a job back ----------------------------------------------------------------------

    def watermark(self, job: Job) -> datetime | None:
        """Up to where the data of a stateful job is done."""
        return self.watermarks.of(job.row)

    def lacks_config(self, job: Job, now: datetime) -> str | None:
        """Why a run of `job` cannot start now, where what it lacks is a config."""
        return self._configs.missing(job.definition, now)

    def holds_back(self, job: Job, now: datetime) -> str | None:
        """Why nothing of `job` can start now, whatever slots are free."""
        refusal = self.refusals.held(job.job_id, now)
        return self.lacks_config(job, now) if refusal is None else refusal.message

    # ---- when it is looked at -----------------------------------------------------------------------

    def schedule(
        self, job: Job, state: JobState, now: datetime, *, cursor: datetime | None = None
    ) -> JobState:
        """Enter the job's next instant, after its `cursor` or a new one, into the timetable and its state."""
        self._without_config.discard(job.job_id)
        cursor = cursor or state.cursor_at
        assert cursor is not None
        following = self._following(job, cursor)
        if following is None:
            self.pause(job.job_id)
            silent = why_silent(job.schedule, after=cursor) or "the schedule has no further instant"
            return _resting(state, cursor, JobStatus.COMPLETED, silent)
        refusal = self.refusals.held(job.job_id, now)
        if refusal is not None:
            self.timetable.put(job.job_id, refusal.until)
            return _resting(state, cursor, JobStatus.INVALID, refusal.message)
        lacking = self.lacks_config(job, now)
        if lacking is not None:
            self.pause(job.job_id)
            self._without_config.add(job.job_id)
            return _resting(state, cursor, JobStatus.WAITING_FOR_CONFIG, lacking)
        if job.definition.stateful and self._progress.busy(job.job_id):
            self.timetable.put(job.job_id, None)  # looked at again when its run is recorded
        else:
            offset = start_offset(job_id=job.job_id, scheduled_time=following, jitter_s=job.row.jitter_s)
            # Of stateful jobs the watermark decides, which moves until then; a `date` completes its row.
            early = not (job.definition.stateful or job.schedule.fires_once)
            self.timetable.put(job.job_id, following + offset, early=early)
        return self.advance(job, state, cursor=cursor, following=following)

    def advance(self, job: Job, state: JobState, *, cursor: datetime, following: datetime) -> JobState:
        """The state of a job whose next instant is `following` and has been entered into the timetable."""
        self._outbox.series.due(job.job_id, following)
        return state.moved_on(
            cursor_at=cursor,
            next_run_at=following,
            status=JobStatus.SCHEDULED.value,
            message=self.message(job, state),
        )

    def _following(self, job: Job, cursor: datetime) -> datetime | None:
        watermark = self.watermark(job)
        if not job.definition.stateful or watermark is None:
            return job.schedule.next_after(cursor)
        self._outbox.series.done_up_to(job.job_id, watermark)
        return self.failed.put_off(job.job_id, job.schedule.next_after(max(watermark, cursor)))

    def message(self, job: Job, state: JobState) -> str | None:
        """What a person should know of a job that fires all the same."""
        return standing(job, state, config=self._configs.note(job.job_id))

    def pause(self, job_id: str) -> None:
        """The job is not looked at, as things stand."""
        self._without_config.discard(job_id)
        self.timetable.put(job_id, None)
        self._outbox.series.due(job_id, None)

    def put_off(self, job_ids: Iterable[str], until: datetime) -> None:
        """Nothing of these jobs could be written; they are looked at again at `until`."""
        for job_id in job_ids:
            if self._rows.scheduled(job_id) is not None:
                self.timetable.put(job_id, until)

    def forget(self, job_id: str) -> None:
        """The job's row is deleted."""
        self.pause(job_id)
        self.states.pop(job_id, None)
        self.watermarks.forget(job_id)
        self.failed.forget(job_id)
        self.backlogs.forget(job_id)
        self.refusals.forget(job_id)
        self.unwritten.discard(job_id)
        self.unseen.pop(job_id, None)
        self._outbox.series.forget(job_id)

    # ---- what makes it look again -------------------------------------------------------------------

    def look_for_configs(self, now: datetime) -> None:
        """Jobs whose config has come, or has taken effect, fire again."""
        for job_id in list(self._without_config):
            job = self._rows.scheduled(job_id)
            if job is not None and self.lacks_config(job, now) is None:
                self.reconsider(job_id, now)

    def look_again(self, job_id: str, now: datetime, *, failed: bool) -> None:
        """A window is no longer in progress: its job's next one may follow."""
        job, state = self._rows.scheduled(job_id), self.states.get(job_id)
        if job is None or state is None or state.cursor_at is None:
            return
        if not job.definition.stateful:
            if not job.schedule.fires_once:
                self.timetable.may_be_early(job_id)
            if job_id in self.backlogs:
                self.schedule(job, state, now)
            return
        if failed:
            self.failed.note(job, watermark=self.watermark(job), now=now)
        self.note(job_id, self.schedule(job, state, now))

    def reconsider(self, job_id: str, now: datetime) -> None:
        """What holds a job back has begun, changed or ended."""
        job, state = self._rows.scheduled(job_id), self.states.get(job_id)
        if job is not None and state is not None:
            self.note(job_id, self.schedule(job, state, now))

    def note(self, job_id: str, new: JobState) -> None:
        """Keep a state that came to be outside of a claim; it is written when its row is taken in next."""
        if new != self.states[job_id]:
            self.states[job_id] = new
            self.unwritten.add(job_id)
            self._outbox.take_in_again(job_id)


def _resting(state: JobState, cursor: datetime, status: JobStatus, message: str) -> JobState:
    """`state` of a job that nothing is due of."""
    return replace(state, cursor_at=cursor, next_run_at=None, status=status.value, message=message)
