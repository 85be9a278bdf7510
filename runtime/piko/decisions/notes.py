"""What a person should know of a job that fires all the same: pure, one sentence after the other."""

from __future__ import annotations

from piko.catalog.jobs import Job
from piko.decisions import given_up
from piko.model.states import JobState


def standing(job: Job, state: JobState, *, config: str | None) -> str | None:
    """The message of a job whose status is Scheduled; None where there is nothing to say.

    `config` is what there is to say of the job's config.
    """
    notes = (given_up.note_of(state), job.warning, config)
    return "; ".join(note for note in notes if note is not None) or None
