"""`piko new`: a project with a job, its schedule and its tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made if needed.")]) -> None:
    """Write a project that runs at once: a job, its schedule, tests, and what a cluster needs."""
    from piko.dev.new import make_project

    for path in make_project(folder):
        typer.echo(f"  {path}")
    here = "" if folder.absolute() == Path.cwd() else f"cd {folder} && "
    typer.echo(f"Next: {here}piko dev, and pytest --piko-manifests . (which `piko[testing]` brings)")
