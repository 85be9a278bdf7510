"""`piko late`: the jobs that do not keep their objective, or whose data is behind where they have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piko.cli.answers import Dsn, Form, Output, show_document, show_table
from piko.cli.reads import with_reads
from piko.cli.watching import Watch, show_answer
from piko.tables import Row, ago

if TYPE_CHECKING:
    from piko.store.reports.troubles import InstallationReport

_LATE = ("late", "late_data")


def late(watch: Watch = False, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Show the jobs that are late; exit code 1 if there are any."""
    show_answer(
        lambda: with_reads(dsn, lambda reads: reads.installation()),
        lambda seen: _show(seen, output),
        watch=watch,
        output=output,
    )


def _show(seen: InstallationReport, output: Output) -> bool:
    found = [item for item in seen.troubles if item.kind in _LATE]
    if output.is_document:
        show_document({"now": seen.now, "late": found}, output)
    else:
        rows = [
            Row(cells=[item.subject, ago(item.since, seen.now)], notes=[item.text, f"> {item.remedy}"])
            for item in found
        ]
        show_table(["JOB", "LATE SINCE"], rows, otherwise="no job is late")
    return bool(found)
