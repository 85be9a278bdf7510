"""`piko dev`: run a folder of jobs and resource files without a cluster or a database server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def dev(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder with app.py, which holds a PikoApp, and *.yaml with its schedules. Default: .",
            show_default=False,
        ),
    ] = Path(),
) -> None:
    """Run the jobs and resource files of a folder on an embedded database, until Ctrl-C."""
    import sys

    from rich.console import Console

    from piko.dev.session import run_folder

    # The stream itself: what `sys.stdout` is later writes to this console.
    run_folder(folder, console=Console(file=sys.stdout, highlight=False))
