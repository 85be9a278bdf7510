"""`piko dev`: a folder of jobs and resource files, run without a cluster or a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def dev(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Holds app.py with a PikoApp, and *.yaml with its schedules."),
    ],
) -> None:
    """Run the jobs of a folder by its resource files, on an embedded database, until Ctrl-C."""
    from rich.console import Console

    from piko.dev.session import run_folder

    run_folder(folder, console=Console(highlight=False))
