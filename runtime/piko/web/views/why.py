"""Why a job does not run: its reasons as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from piko.store.reports.explanations import JobExplanation, Reason, ReasonKind
from piko.text import instant_text
from piko.web.views import links
from piko.web.views.words import Mark, Tone, stamp

_GOOD = (ReasonKind.RAN,)
_BUSY = (ReasonKind.RUNNING, ReasonKind.QUEUED)
_QUIET = (
    ReasonKind.NOT_DUE,
    ReasonKind.COMING,
    ReasonKind.COALESCED,
    ReasonKind.SKIPPED,
    ReasonKind.COMPLETED,
    ReasonKind.PAUSED,
    ReasonKind.NOTED,
)
_WARN = (ReasonKind.OVERLAP, ReasonKind.NO_RUN, ReasonKind.UNSEEN, ReasonKind.CANCELLED, ReasonKind.MISSED)
_TONES = {
    **dict.fromkeys(_GOOD, Tone.GOOD),
    **dict.fromkeys(_BUSY, Tone.BUSY),
    **dict.fromkeys(_QUIET, Tone.QUIET),
    **dict.fromkeys(_WARN, Tone.WARN),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonLine:
    """One reason; `run_link` leads to the run that says it."""

    mark: Mark
    sentence: str
    remedy: str
    run_link: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NearLine:
    """A due time near by, and the link that asks about it."""

    text: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """What the page says; `at` is the instant in words, and `written` as its field takes it."""

    heading: str
    written: str
    lines: Sequence[ReasonLine]
    near: Sequence[NearLine]


def why_view(explained: JobExplanation) -> WhyView:
    """`explained` as the page shows it."""
    place = f"{links.job(explained.job_id)}/why"
    at = explained.at
    near = [
        NearLine(text=stamp(each), link=links.with_query(place, [("at", instant_text(each))]))
        for each in explained.near
        if each != at
    ]
    return WhyView(
        heading="now" if at is None else f"at {stamp(at)}",
        written="" if at is None else instant_text(at),
        lines=[_line(reason) for reason in explained.reasons] or [_NOTHING],
        near=near,
    )


def _line(reason: Reason) -> ReasonLine:
    return ReasonLine(
        mark=Mark(text=reason.kind.replace("_", " ").capitalize(), tone=_TONES.get(reason.kind, Tone.BAD)),
        sentence=f"{reason.text[:1].upper()}{reason.text[1:]}.",
        remedy=reason.remedy or "",
        run_link=None if reason.run is None else links.run(reason.run.run_id),
    )


_NOTHING = ReasonLine(
    mark=Mark(text="Scheduled", tone=Tone.GOOD), sentence="Nothing holds it back.", remedy="", run_link=None
)
