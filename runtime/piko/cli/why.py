"""`piko why`: why a job does not run, or did not run at an instant."""

from __future__ import annotations

from typing import Annotated

import typer

from piko.cli.answers import Dsn, Form, Job, Output, say, show_document
from piko.cli.reads import with_reads


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
    """Say why a job does not run now, or did not run at an instant, each reason a line."""
    explained = with_reads(dsn, lambda reads: reads.explain(job, at))
    if output.is_document:
        show_document(explained, output)
        return
    for reason in explained.reasons:
        say(f"{reason.text}; {reason.remedy}" if reason.remedy else reason.text)
