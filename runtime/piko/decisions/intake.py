"""Rows into states: what the leader takes over of rows that are new, changed or deleted. Pure.

A row that the leader has not met may be the next one of a job that had one before. So its state is read
first, and with it how far the job had come; what the row lacks of that is written into it before a claim is
made.

A schedule that is new, changed, repaired or enabled again begins at the edit, so nothing is fired for
instants before it (`beginning`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import AssessedRow, Job
from piko.core.types import JobStatus
from piko.decisions.agenda import Agenda
from piko.decisions.beginning import beginning
from piko.decisions.claims_ahead import ClaimsAhead
from piko.decisions.effects import (
    CopyWatermarks,
    Level,
    MarkDeleted,
    ReadStates,
    RestoreWatermarks,
    Withdraw,
    WriteStates,
)
from piko.decisions.events import RowsChanged, StatesRead, StatesWritten, WatermarksRestored, Withdrawn
from piko.decisions.given_up import answered
from piko.decisions.open_runs import OpenRuns
from piko.decisions.outbox import Outbox
from piko.decisions.slots import SlotTable
from piko.model.claims import states_before
from piko.model.states import JobState


class Intake:
    """Takes over rows, and asks for what comes of them to be written."""

    def __init__(
        self,
        *,
        rows: AssessedRows,
        agenda: Agenda,
        progress: OpenRuns,
        ahead: ClaimsAhead,
        slots: SlotTable,
        outbox: Outbox,
    ) -> None:
        self._rows = rows
        self._agenda = agenda
        self._progress = progress
        self._ahead = ahead
        self._slots = slots
        self._outbox = outbox

    def rows_changed(self, event: RowsChanged) -> None:
        """Take in rows; those that the leader has not met, once their states are read.

        Where a due time was claimed ahead by what the row said before, once that claim is taken back.
        """
        outdated = self._ahead.outdated(event.job_ids, self._rows, event.now)
        if outdated:
            self._outbox.put(Withdraw(withdrawals=outdated, now=event.now))
        later = {item.job_id for item in outdated}
        unmet = {job_id for job_id in event.job_ids if job_id not in later and self._is_unmet(job_id)}
        if unmet:
            self._outbox.put(ReadStates(job_ids=sorted(unmet)))
        later |= unmet
        self._take_in([job_id for job_id in event.job_ids if job_id not in later], event.now)

    def withdrawn(self, event: Withdrawn) -> None:
        """Take in the rows by which claims were taken back, from before these claims."""
        written = [item for item in event.withdrawals if item.job_id not in event.left_out]
        for item in written:
            self._ahead.forget(item.run)
            if item.run.run_id not in event.begun:
                self._progress.leave(item.run)
        taken_back = [item for item in written if item.run.run_id in event.won]
        self._agenda.states.update({state.job_id: state for state in states_before(taken_back)})
        for item in taken_back:
            self._outbox.log(
                Level.INFO, "claim_taken_back", job_id=item.job_id, run_id=item.run.run_id, why=item.why
            )
        job_ids = list(dict.fromkeys(item.job_id for item in written))
        self.rows_changed(RowsChanged(job_ids=job_ids, now=event.now))

    def states_read(self, event: StatesRead) -> None:
        """Take in the rows whose states were read; a job that has none begins afresh."""
        for job_id in event.job_ids:
            self._agenda.states.pop(job_id, None)
        self._agenda.states.update(event.states)
        self._take_in(event.job_ids, event.now)

    def states_written(self, event: StatesWritten) -> None:
        """Where somebody holds the row of a state, it is written when the job is taken in next."""
        self._agenda.unwritten.update(event.held)

    def restored(self, event: WatermarksRestored) -> None:
        """Watermarks are in the rows of `found`: write the states of these jobs.

        Not of those whose rows could not be had: they wait, and nothing of them is claimed.
        """
        agenda, found, states = self._agenda, event.found, []
        for move in event.moves:
            if found.get(move.job_id) != move.new:  # somebody else writes the row: what it says then counts
                agenda.watermarks.doubt(move.job_id)
                self._outbox.read_again(move.job_id)
            if move.job_id in found:
                states.append(agenda.states[move.job_id])
            else:
                agenda.watermarks.forget(move.job_id)
                agenda.timetable.put(move.job_id, None)
                agenda.states.pop(move.job_id, None)
        self._write(states)
        by_job = {move.job_id: move.new for move in event.moves}
        for state in states:
            self._tell_of_progress(state.job_id, state, by_job[state.job_id])

    def _is_unmet(self, job_id: str) -> bool:
        """Whether there is a row that the state here does not speak of: it has to be read first."""
        assessed, state = self._rows.get(job_id), self._agenda.states.get(job_id)
        return assessed is not None and (state is None or state.row_created_at != assessed.row.created_at)

    def _take_in(self, job_ids: Iterable[str], now: datetime) -> None:
        agenda = self._agenda
        write: dict[str, JobState] = {}
        deleted, resumed = [], []
        agenda.backlogs.begin(now)
        for job_id in job_ids:
            assessed, old = self._rows.get(job_id), agenda.states.get(job_id)
            if assessed is None:
                agenda.forget(job_id)
                if old is not None and old.row_gone_at is None:
                    deleted.append(job_id)
                continue
            agenda.states[job_id] = new = self._judge(assessed, old or JobState(job_id=job_id), now)
            if old is not None and old.is_of_another_row(assessed.row.created_at) and _goes_on(old, new):
                resumed.append(job_id)
            if new != old or job_id in agenda.unwritten:
                write[job_id] = new
            agenda.unwritten.discard(job_id)
        self._slots.rows_changed()
        self._ask(write, deleted, resumed, now)

    def _ask(
        self, write: dict[str, JobState], deleted: Sequence[str], resumed: Iterable[str], now: datetime
    ) -> None:
        """Ask for what comes of an intake to be written, the watermarks of new rows first."""
        restore = self._agenda.watermarks.take_to_restore()
        restoring = {move.job_id for move in restore}
        if restore:
            self._outbox.put(RestoreWatermarks(moves=restore))
        self._write([state for state in write.values() if state.job_id not in restoring])
        if deleted:
            self._outbox.put(MarkDeleted(job_ids=deleted, now=now))
        if copy := self._agenda.watermarks.take_to_copy():
            self._outbox.put(CopyWatermarks(job_ids=copy))
        for job_id in resumed:
            if job_id not in restoring:
                self._tell_of_progress(job_id, write.get(job_id), None)

    def _write(self, states: Sequence[JobState]) -> None:
        if not states:
            return
        self._outbox.put(WriteStates(states=states))
        for state in states:
            if state.status == JobStatus.WAITING_FOR_CONFIG:
                self._outbox.log(Level.WARNING, "job_waits", job_id=state.job_id, why=state.message)

    def _tell_of_progress(self, job_id: str, state: JobState | None, watermark: datetime | None) -> None:
        cursor = None if state is None else state.cursor_at
        self._outbox.log(
            Level.INFO,
            "progress_restored",
            job_id=job_id,
            watermark=None if watermark is None else watermark.isoformat(),
            cursor=None if cursor is None else cursor.isoformat(),
            hint="the row is new and goes on from the one before; `piko forget JOB` prevents that",
        )

    def _judge(self, assessed: AssessedRow, state: JobState, now: datetime) -> JobState:
        """The state of a job by its row as it was read now."""
        row, job, agenda = assessed.row, assessed.job, self._agenda
        first_seen = not agenda.watermarks.knows(row.job_id) or state.is_of_another_row(row.created_at)
        foreign = agenda.watermarks.take_in(row, state)
        if agenda.watermarks.is_behind(row):
            self._outbox.read_again(row.job_id)
        if first_seen:
            self._outbox.series.known(state)
        if job is not None and job.definition.stateful:
            self._outbox.series.done_up_to(job.job_id, agenda.watermark(job))
        new = state.judged(
            job_id=row.job_id,
            status=assessed.status.value,
            message=assessed.message,
            observed_version=row.version,
            row_created_at=row.created_at,
        )
        moved = state.observed_version != row.version and not state.is_of_another_row(row.created_at)
        if foreign or moved:
            new = answered(new)
        if job is None or assessed.status is not JobStatus.SCHEDULED:
            agenda.pause(row.job_id)
            # Code that comes back goes on where it was; an enabled or repaired row begins at its edit.
            keeps_cursor = assessed.status is JobStatus.UNREGISTERED and row.enabled
            return new if keeps_cursor else replace(new, schedule_hash=None)
        new = self._go_on(job, assessed, new, now, first_seen=first_seen)
        if foreign and job.definition.stateful:
            agenda.failed.forget(row.job_id)
            new = replace(new, cursor_at=row.last_data_time or new.cursor_at)
        new = agenda.schedule(job, new, now)
        if row.job_id in agenda.unseen:
            agenda.timetable.put(row.job_id, now)  # to record what is not fired
        return new

    def _go_on(
        self, job: Job, assessed: AssessedRow, state: JobState, now: datetime, *, first_seen: bool
    ) -> JobState:
        """`state` with the cursor of the schedule: the one it had, or a new one."""
        agenda = self._agenda
        if state.schedule_hash == job.schedule.fingerprint and state.cursor_at is not None:
            if first_seen:
                agenda.failed.note_as_left(job, state, watermark=agenda.watermark(job), now=now)
            return state
        agenda.failed.forget(job.job_id)
        begin = beginning(job, assessed, cursor=state.cursor_at, now=now)
        if begin.unseen is not None:
            agenda.unseen[job.job_id] = begin
        return replace(state, schedule_hash=job.schedule.fingerprint, cursor_at=begin.cursor)


def _goes_on(old: JobState, new: JobState) -> bool:
    return old.cursor_at is not None and new.cursor_at == old.cursor_at
