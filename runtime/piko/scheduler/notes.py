"""What a person should know of a job that fires all the same: pure, one sentence after the other."""

from __future__ import annotations

from piko.scheduler import given_up
from piko.scheduler.plan import PlannedJob
from piko.store.states import JobState


def standing(job: PlannedJob, state: JobState) -> str | None:  # noqa: ARG001
    """The message beside the status Scheduled; None where there is nothing to say."""
    notes = (given_up.note_of(state),)
    return "; ".join(note for note in notes if note is not None) or None
