"""Dead letters as the database lists them, and what people ask to be done with them. Never the payload."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LetterVerb(StrEnum):
    """What can be asked for a dead letter."""

    REPLAY = "replay"
    """To be written to its sink again."""
    DROP = "drop"
    """To be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedLetter:
    """A write intent that its sink refused at `died_at`, as its replica lists it.

    `key` is that of the intent, and `job_id` and `run_id` say which run wrote it; `?` where the intent on
    disk cannot be read.
    """

    letter_id: str
    sink: str
    job_id: str
    run_id: str
    key: str
    error: str
    died_at: datetime
