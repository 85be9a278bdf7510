"""`piko test`: one run of a job, here and now, without a database."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from piko.cli.answers import Form, Output, show_document
from piko.errors import InputError

if TYPE_CHECKING:
    from piko.testing.inline_run import FinishedRun

_MOST_SHOWN = 10
"""Records of one sink that are shown."""


def run_once(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job.")],
    window: Annotated[
        str | None,
        typer.Option(metavar="START/END", help="Of a stateful job: 2026-03-01T00:00Z/2026-03-02T00:00Z."),
    ] = None,
    config: Annotated[
        str | None, typer.Option(metavar="JSON", help="An object. Default: the model's defaults.")
    ] = None,
    attempt: Annotated[int, typer.Option(min=1, help="The number of the attempt.")] = 1,
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Folder of the app. Default: this one.")
    ] = Path(),
    output: Form = Output.TEXT,
) -> None:
    """Run a job once, here and now, without a database. Exit 1 if it does not succeed.

    Its resources are opened as they are; what it writes to sinks is checked and shown, and not written. What
    it prints and logs is on stderr.
    """
    from piko.dev.application import load_app
    from piko.json_object import read_object
    from piko.testing.inline_run import run_job

    try:
        given = None if config is None else read_object(config)
    except ValueError as error:
        raise InputError(f"--config {error}") from None
    with redirect_stdout(sys.stderr):
        run = run_job(load_app(folder.resolve()), job, window=window, config=given, attempt=attempt)
    if output.is_document:
        show_document(_answer(run), output)
    else:
        _show(run)
    if not run.succeeded:
        raise typer.Exit(1)


def _answer(run: FinishedRun) -> dict[str, Any]:
    return {
        "job_id": run.job_id,
        "state": run.state.value,
        "error": run.error,
        "error_type": run.error_type,
        "result": dict(run.result),
        "intents": {
            sink: [{"key": intent.key, "payload": intent.payload} for intent in intents]
            for sink, intents in run.intents.items()
        },
    }


def _show(run: FinishedRun) -> None:
    typer.echo(f"{run.job_id}: {run.state.value}")
    if run.error is not None:
        typer.echo(run.error)
    for name, value in run.result.items():
        typer.echo(f"  {name} = {value}")
    for sink, intents in run.intents.items():
        typer.echo(f"  {len(intents)} to sink {sink}:")
        for intent in intents[:_MOST_SHOWN]:
            typer.echo(f"    {intent.key}: {intent.payload}")
        if len(intents) > _MOST_SHOWN:
            typer.echo(f"    … and {len(intents) - _MOST_SHOWN} more")
