"""Up to where the data of each stateful job is done, as the leader knows it."""

from __future__ import annotations

from datetime import datetime

from piko.model.digests import Digest
from piko.model.schedules import ScheduleRow
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove


class WatermarkBook:
    """What the rows say, and what this leader has moved since they were read.

    The leader's own moves edit the row, too, and come back with some later reading of it. A row that holds
    one of them, or what was there before, is an echo; any other instant was set by somebody else, who is
    obeyed. Where an echo and an edit look alike the row is read once more: a reading from before the leader's
    last move cannot come twice. And the database refuses a window that does not begin at the watermark; then
    the row counts (`doubt`).
    """

    def __init__(self) -> None:
        self._to_restore: list[WatermarkMove] = []
        """What new rows are to get of the ones before; see `piko.store.progress`."""
        self._to_copy: set[str] = set()
        """Jobs whose row says what nobody has copied yet."""
        self._moves: dict[str, list[datetime | None]] = {}
        self._seen: dict[str, datetime | None] = {}
        self._behind: dict[str, tuple[Digest, datetime | None]] = {}

    def of(self, row: ScheduleRow) -> datetime | None:
        own = self._moves.get(row.job_id)
        return own[-1] if own else row.last_data_time

    def move(self, job_id: str, old: datetime | None, new: datetime) -> None:
        """This leader has moved the watermark from `old` to `new`."""
        self._moves.setdefault(job_id, [old]).append(new)

    def take_in(self, row: ScheduleRow, state: JobState) -> bool:
        """Take over a row that was read again; whether somebody else has set the watermark."""
        is_new = state.is_of_another_row(row.created_at)
        if is_new:
            self.forget(row.job_id)
        first_seen = not self.knows(row.job_id)
        foreign = self._take_over(row)
        kept = state.data_through
        if is_new and row.last_data_time is None and kept is not None:
            self.move(row.job_id, None, kept)
            self._to_restore.append(WatermarkMove(job_id=row.job_id, old=None, new=kept))
        elif foreign or (first_seen and row.last_data_time != kept):
            self._to_copy.add(row.job_id)
        return foreign

    def take_to_restore(self) -> list[WatermarkMove]:
        """What new rows are to get of the ones before, since this was asked last; see `piko.store.kept`."""
        moves, self._to_restore = self._to_restore, []
        return moves

    def take_to_copy(self) -> set[str]:
        """Jobs whose row says what nobody has copied yet, since this was asked last."""
        job_ids, self._to_copy = self._to_copy, set()
        return job_ids

    def _take_over(self, row: ScheduleRow) -> bool:
        own, value = self._moves.get(row.job_id), row.last_data_time
        behind = self._behind.pop(row.job_id, None)
        if own is not None and value != own[-1] and behind == (row.digest, own[-1]):
            foreign = True
            del self._moves[row.job_id]
        elif own is None:
            foreign = row.job_id in self._seen and self._seen[row.job_id] != value
        elif value in own:
            foreign = False
            del own[: own.index(value)]
            if len(own) == 1:
                del self._moves[row.job_id]
            else:
                self._behind[row.job_id] = (row.digest, own[-1])
        else:
            foreign = True
            del self._moves[row.job_id]
        self._seen[row.job_id] = value
        return foreign

    def is_behind(self, row: ScheduleRow) -> bool:
        """Whether the row holds an instant that this leader has moved on from: it has to be read again."""
        return row.job_id in self._behind

    def doubt(self, job_id: str) -> None:
        """The database does not agree: what its row says counts, an edit if it is not the last move."""
        if moves := self._moves.pop(job_id, None):
            self._seen[job_id] = moves[-1]

    def forget(self, job_id: str) -> None:
        for known in (self._moves, self._seen, self._behind):
            known.pop(job_id, None)

    def knows(self, job_id: str) -> bool:
        """Whether a row of the job has been taken in."""
        return job_id in self._seen
