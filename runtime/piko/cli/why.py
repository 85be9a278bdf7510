"""`piko why`: why a job does not run, or did not run at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Job, Output, say, show_document
from piko.cli.reads import with_reads

if TYPE_CHECKING:
    from piko.store.reports.explanations import Reason
    from piko.store.reports.trouble import Trouble

_LONGEST = 400


def why(
    job: Job,
    at: Annotated[
        str | None,
        typer.Argument(
            metavar="[INSTANT]",
            help="A due time in the schedule's zone; default: now.",
            show_default=False,
        ),
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Say why a job does not run now, or did not run at an instant, each reason a line.

    Before the reasons stands whether the job fails or is late, by its objective if it has one. Runs that
    failed by the same error are one line.
    """
    explained = with_reads(dsn, lambda reads: reads.explain(job, at))
    if output.is_document:
        show_document(explained, output)
        return
    if explained.troubles:
        say(_summary(explained.troubles))
    for alike in _gathered(explained.reasons):
        say(_line(alike))


def _summary(troubles: Sequence[Trouble]) -> str:
    """Whether the job fails or is late, in one line."""
    kinds = ", ".join(item.kind.replace("_", " ") for item in troubles)
    remedy = next((f"; {item.remedy}" for item in troubles if item.kind == "failing"), "")
    return f"{kinds}: {'; '.join(item.text for item in troubles)}{remedy}"


def _gathered(reasons: Sequence[Reason]) -> list[list[Reason]]:
    """The reasons in their order, those that are runs which failed by the same error together."""
    from piko.store.reports.explanations import ReasonKind

    groups: dict[object, list[Reason]] = {}
    for place, reason in enumerate(reasons):
        run = reason.run
        failed = run is not None and reason.kind in (ReasonKind.FAILED, ReasonKind.LOST)
        groups.setdefault((run.state, run.error) if run is not None and failed else place, []).append(reason)
    return list(groups.values())


def _line(alike: Sequence[Reason]) -> str:
    """One reason, or several that are alike, of which the newest run is named first."""
    from piko.text import first_line, instant_text

    text, run = alike[0].text, alike[0].run
    if len(alike) > 1 and run is not None:
        due = [item.run.scheduled_time for item in alike if item.run is not None]
        times = [instant_text(each, whole_seconds=True) for each in sorted({min(due), max(due)})]
        error = first_line(run.error, most=_LONGEST)
        text = f"{' to '.join(times)}: {run.state}, {len(alike)} attempts{f': {error}' if error else ''}"
    return f"{text}; {alike[0].remedy}" if alike[0].remedy else text
