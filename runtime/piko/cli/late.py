"""`piko late`: the jobs that do not keep their objective, or whose data is behind where they have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from piko.cli.answers import Dsn, Form, Output, show_json, show_table, with_database, zone_in_force
from piko.tables import Row, ago

if TYPE_CHECKING:
    from piko.store.engine import Database
    from piko.store.reports.troubles import InstallationReport

_LATE = ("late", "late_data")


def late(dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """Show the jobs that are late; exit code 1 if there are any."""
    from piko.store.reports.attention import read_facts
    from piko.store.reports.troubles import report

    timezone = zone_in_force(dsn)

    async def read(database: Database) -> InstallationReport:
        return report(await read_facts(database), timezone=timezone)

    seen = with_database(dsn, read)
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
