"""What a bound on a backlog drops, and how a person gets it back: pure.

Data that is given up is reported where people look: in the log, in `job_run` (one row of state MISSED for
each time), in the metrics by bound, and in `job_state`, from where it gets to `piko jobs` and the resource.
There it stands, as one range from the first to the last of it, until somebody answers: by a backfill of the
range, by setting the watermark, or by raising the row's `version`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from piko.catalog.jobs import Job
from piko.core.types import DataInterval
from piko.decisions.due import Span
from piko.decisions.due_window import Bound
from piko.model.states import JobState
from piko.text import instant_text


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """Windows of one job that one bound has dropped. `data` is what they cover, from edge to edge."""

    job_id: str
    bound: Bound
    data: DataInterval
    windows: int
    reason: str

    @property
    def facts(self) -> dict[str, object]:
        """For the log."""
        return {
            "job_id": self.job_id,
            "windows": self.windows,
            "data_from": instant_text(self.data.start),
            "data_to": instant_text(self.data.end),
            "why": self.reason,
            "repair": repair_line(self.job_id, self.data),
        }

    @property
    def message(self) -> str:
        return f"{self.reason}; to run what was given up: {repair_line(self.job_id, self.data)}"


def given_up(job: Job, bound: Bound, span: Span) -> GivenUp:
    """What `bound` drops of `job`: the windows that end at the instants of `span`.

    A window that begins at a watermark between two edges of the schedule is part of a whole one, which is
    what a backfill runs.
    """
    before = job.schedule.unbounded_before(span.first)
    start = span.first if before is None else before
    return GivenUp(
        job_id=job.job_id,
        bound=bound,
        data=DataInterval(start=start, end=span.through),
        windows=span.count,
        reason=span.reason,
    )


def repair_line(job_id: str, data: DataInterval) -> str:
    """The command that runs the windows of `data`."""
    return f"piko backfill {job_id} --from {instant_text(data.start)} --to {instant_text(data.end)}"


def noted(state: JobState, item: GivenUp) -> JobState:
    """`state` with `item` among what was given up."""
    start, end = item.data.start, item.data.end
    if state.given_up_from is not None and state.given_up_to is not None:
        start, end = min(start, state.given_up_from), max(end, state.given_up_to)
    return replace(state, given_up_from=start, given_up_to=end)


def answered(state: JobState, *, by: DataInterval | None = None) -> JobState:
    """`state` once somebody has answered: for all that was given up, or by a backfill of the range `by`."""
    data = _range(state)
    if data is None or (by is not None and (by.start > data.start or by.end < data.end)):
        return state
    return replace(state, given_up_from=None, given_up_to=None)


def note_of(state: JobState) -> str | None:
    """What stands of it, for a person."""
    data = _range(state)
    if data is None:
        return None
    return (
        f"data from {instant_text(data.start)} to {instant_text(data.end)} was given up by max_lookback_s or "
        f"backfill_max_windows; to run it: {repair_line(state.job_id, data)}"
    )


def _range(state: JobState) -> DataInterval | None:
    if state.given_up_from is None or state.given_up_to is None:
        return None
    return DataInterval(start=state.given_up_from, end=state.given_up_to)
