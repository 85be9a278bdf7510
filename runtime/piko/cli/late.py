"""`piko late`: the jobs that do not keep their objective, or whose data is behind where they have none."""

from __future__ import annotations

import typer

from piko.cli.answers import Dsn, Form, Output, show_json, show_table
from piko.cli.reads import with_reads
from piko.tables import Row, ago

_LATE = ("late", "late_data")


def late(dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Show the jobs that are late; exit code 1 if there are any."""
    seen = with_reads(dsn, lambda reads: reads.installation())
    found = [item for item in seen.troubles if item.kind in _LATE]
    if output is Output.JSON:
        show_json({"now": seen.now, "late": found})
    else:
        rows = [
            Row(cells=[item.subject, ago(item.since, seen.now)], notes=[item.text, f"> {item.remedy}"])
            for item in found
        ]
        show_table(["JOB", "LATE SINCE"], rows, otherwise="no job is late")
    if found:
        raise typer.Exit(1)
