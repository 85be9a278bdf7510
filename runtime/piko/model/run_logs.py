"""What a run says of itself, as it is kept in `run_log`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccount:
    """The log of a run and its progress, as far as it has said anything.

    `head` and `tail` are its first and last lines; `line_count` is how many it logged, and `left_out` how
    many of them lie between the two. A line that goes on, such as a traceback, is indented where it does.
    """

    run_id: str
    job_id: str
    head: str | None = None
    tail: str | None = None
    line_count: int = 0
    left_out: int = 0
    progress_done: float | None = None
    progress_total: float | None = None
    progress_text: str | None = None
