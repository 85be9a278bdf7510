"""Acts: what a form asks for, and what the act did or would do, in sentences."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from piko.core.types import FINAL_STATES, RunState
from piko.decisions.backfill_range import PlannedRange
from piko.model.backfills import Backfill
from piko.model.runs import Run
from piko.steering.bulk import ItemResult
from piko.steering.schedules import WatermarkChange
from piko.store.reports.overview import JobReport, RunReport
from piko.text import counted
from piko.web.views import links
from piko.web.views.words import stamp

_LISTED = 12


class FieldKind(StrEnum):
    """How a person writes a value."""

    TEXT = "text"
    INSTANT = "instant"
    NUMBER = "number"
    OBJECT = "object"
    CHECK = "check"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field of a form; `choices` are value and text."""

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    value: str = ""
    hint: str = ""
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActForm:
    """An act on a page: `subject` is what it is done to, with a link back to it; `says` what it means."""

    verb: str
    subject: str
    back: str
    says: str
    shell: str
    fields: tuple[FormField, ...] = ()
    ends: bool = False
    """It ends or undoes something, so its button warns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an act did or would do; `leads_to` is the page that shows it.

    `nothing`: it would change nothing. `results` are those of an act on many, `text` is a block of its own.
    """

    sentences: tuple[str, ...]
    shell: str
    leads_to: str
    done: str = ""
    nothing: bool = False
    results: tuple[ItemResult, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActLink:
    """A way to a form."""

    text: str
    link: str


NOTICE = "done"
"""Names in the address of a page which act led to it."""

REASON = FormField(name="reason", label="Reason", hint="Kept in the change log, with your name.")

_NOTICES = {
    "paused": "Paused.",
    "resumed": "Resumed.",
    "queued": "Queued. It starts as soon as a replica has a free slot.",
    "moved": "The watermark was moved.",
    "rolled-back": "The config was rolled back.",
    "cancelled": "Cancelled. A handler that runs is cancelled within a poll.",
    "started": "The backfill was started.",
    "replay-asked": "Asked for. Its replica writes it to the sink again at its next look.",
    "drop-asked": "Asked for. Its replica deletes it at its next look.",
    "changed": "Done.",
}


def notice(word: str | None) -> str:
    """What a page says of the act that led to it; nothing for a word that no act uses."""
    return _NOTICES.get(word or "", "")


def job_acts(job: JobReport, *, revisions: int) -> list[ActLink]:
    """What can be done to `job`, whose config has had so many revisions."""
    verbs = {"pause": "Pause"} if job.enabled else {"resume": "Resume"}
    if job.stateful is False:
        verbs["trigger"] = "Run now"
    if job.stateful:
        verbs |= {"run-window": "Run a window", "backfill": "Back fill", "set-watermark": "Set watermark"}
    if revisions > 1:
        verbs["rollback-config"] = "Roll back config"
    return _links(links.job(job.job_id), verbs)


def run_acts(run: RunReport) -> list[ActLink]:
    """What can be done to `run`."""
    state = RunState(run.state)
    if state not in FINAL_STATES:
        return _links(links.run(run.run_id), {"cancel": "Cancel"})
    over = (RunState.SUCCESS, RunState.SKIPPED, RunState.MISSED)
    return [] if state in over else _links(links.run(run.run_id), {"retry": "Run again"})


def backfill_acts(item: Backfill) -> list[ActLink]:
    """What can be done to a backfill."""
    verbs = {
        "ACTIVE": {"pause": "Pause", "cancel": "Cancel"},
        "PAUSED": {"resume": "Resume", "cancel": "Cancel"},
    }
    return _links(links.backfill(item.backfill_id), verbs.get(item.state.value, {}))


def _links(place: str, verbs: dict[str, str]) -> list[ActLink]:
    return [ActLink(text=text, link=f"{place}/{verb}") for verb, text in verbs.items()]


# ---- what an act does, in sentences -----------------------------------------------------------------


def paused(job: JobReport, until: datetime | None, *, changed: bool) -> tuple[str, ...]:
    """What a pause means."""
    if not changed:
        return ("It is paused so already; nothing would change.",)
    end = "until somebody resumes it" if until is None else f"until {stamp(until)}"
    due = "" if job.next_run_at is None else f" Its next due time is {stamp(job.next_run_at)}."
    return (f"No due time fires {end}.{due}", "Runs in progress continue.")


def resumed(*, changed: bool) -> tuple[str, ...]:
    """What a resumption means."""
    if not changed:
        return ("It is not paused; nothing would change.",)
    return ("It fires again from its next due time on. What was due meanwhile is not made up.",)


def queued(run: Run) -> tuple[str, ...]:
    """What a run that is queued by hand means."""
    which = "A run" if run.attempt == 1 else f"Attempt {run.attempt}"
    if run.window is None:
        what = f"{which} is queued for {stamp(run.scheduled_time)}, in addition to the schedule."
    else:
        window = f"{stamp(run.window.start)} to {stamp(run.window.end)}"
        what = f"{which} at the window from {window} is queued. The watermark does not move."
    own = () if run.config_overrides is None else (f"Values of its own: {run.config_overrides}",)
    return (what, *own)


def cancelled(run: Run) -> tuple[str, ...]:
    """What the end of a run means."""
    handler = " Its handler is cancelled within a poll." if run.state is RunState.RUNNING else ""
    return (f"The run of {run.job_id} for {stamp(run.scheduled_time)} ends as CANCELLED.{handler}",)


def moved(change: WatermarkChange) -> tuple[str, ...]:
    """What a move of the watermark means."""
    before = "nothing" if change.before is None else stamp(change.before)
    if change.watermark is None:
        return (
            f"The watermark is removed; it is {before} now.",
            "The job begins again with the last full window.",
        )
    move = f"The watermark moves from {before} to {stamp(change.watermark)}."
    if change.first_window_start is None or change.last_window_end is None:
        return (move, "No window is complete after it, so nothing runs at once.")
    extent = f"{stamp(change.first_window_start)} to {stamp(change.last_window_end)}"
    windows = counted(change.windows, "window")
    runs = "runs" if change.windows == 1 else "run"
    return (move, f"{windows} {runs} after that, from {extent}.")


def filled(planned: PlannedRange, parallel: int) -> tuple[str, ...]:
    """What a backfill means, without its windows."""
    extent = f"{stamp(planned.start)} to {stamp(planned.end)}"
    left_out = [
        f"Left out, as it is no whole window: {stamp(i.start)} to {stamp(i.end)}." for i in planned.left_out
    ]
    return (
        f"{counted(planned.count, 'window')} from {extent}, {parallel} at once, beside the schedule.",
        *left_out,
    )


def windows(planned: PlannedRange) -> str:
    """The first windows of a backfill, a line for each."""
    lines = [f"{stamp(item.start)} to {stamp(item.end)}" for item in planned.windows[:_LISTED]]
    rest = planned.count - len(lines)
    return "\n".join([*lines, *([f"… and {rest:,} more"] if rest else [])])


def steered(item: Backfill, verb: str) -> tuple[str, ...]:
    """What an act on a backfill means."""
    done = f"{item.windows_succeeded + item.windows_failed:,} of {item.windows_total:,} windows have ended."
    return {
        "pause": ("No further window starts; those in progress continue.", done),
        "resume": ("Its further windows start.", done),
        "cancel": ("Its further windows do not start, and those in progress are cancelled.", done),
    }[verb]


def many(results: Sequence[ItemResult], word: str, *, dry_run: bool, what: str) -> tuple[str, ...]:
    """What an act on many did, or would do."""
    counts = {kind: _counted(results, kind) for kind in ("changed", "unchanged", "refused")}
    would = "would be " if dry_run else ("was " if counts["changed"] == 1 else "were ")
    said = [f"{counted(counts['changed'], what)} {would}{word}."]
    if counts["unchanged"]:
        said.append(
            f"{counted(counts['unchanged'], what)} {'is' if counts['unchanged'] == 1 else 'are'} so already."
        )
    if counts["refused"]:
        said.append(f"{counted(counts['refused'], what)} refused; the list says why.")
    return tuple(said)


def _counted(results: Collection[ItemResult], kind: str) -> int:
    return sum(item.result == kind for item in results)
