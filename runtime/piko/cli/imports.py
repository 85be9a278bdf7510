"""`piko import`: schedules of cron and of Kubernetes as resources of Piko."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Form, Output, show_document
from piko.errors import ManifestError
from piko.tables import shown
from piko.text import counted, excerpt

if TYPE_CHECKING:
    from piko.imports.translations import Left, Translated

commands = typer.Typer(
    help="Print the schedules of cron or of Kubernetes as resources. Writes nothing.", no_args_is_help=True
)

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The file, or - for standard input.", show_default=False)
]


@commands.command()
def crontab(
    file: File,
    system: Annotated[
        bool,
        typer.Option("--system", help="The file names a user before each command: /etc/crontab."),
    ] = False,
    timezone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE", help="Zone of the machine; a CRON_TZ in the file replaces it.", show_default=False
        ),
    ] = None,
    output: Form = Output.TEXT,
) -> None:
    """Translate a crontab: `crontab -l | piko import crontab -`. Exit 1 if a line was left."""
    from piko.imports.crontab import read_crontab

    found, left = read_crontab(_text(file), with_user=system, zone=timezone)
    _print(file, found, left, output)


@commands.command()
def cronjob(file: File, output: Form = Output.TEXT) -> None:
    """Translate CronJobs: `kubectl get cronjob -o yaml | piko import cronjob -`. Exit 1 if one was left."""
    from piko.imports.cronjobs import read_cronjobs

    found, left = read_cronjobs(_text(file))
    _print(file, found, left, output)


def _print(file: Path, found: Sequence[Translated], left: Sequence[Left], output: Output) -> None:
    from piko.clock import SystemClock
    from piko.imports.translations import Translated, checked, yaml_of

    now = SystemClock().now()
    results = [checked(item, zone="UTC", now=now) for item in found]
    usable = [item for item in results if isinstance(item, Translated)]
    refused = sorted([*left, *(item for item in results if not isinstance(item, Translated))], key=_line)
    if output.is_document:
        show_document({"schedules": [item.resource for item in usable], "left": refused}, output)
    else:
        for line in yaml_of(usable, _source(file)):
            typer.echo(line)
    for item in refused:
        what = excerpt(shown(item.what))
        typer.echo(f"piko: {_source(file)}, line {item.line}: left: {what}: {shown(item.why)}", err=True)
    typer.echo(f"piko: {counted(len(usable), 'schedule')}, {len(refused)} left", err=True)
    if refused or not usable:
        raise typer.Exit(1)


def _line(item: Left | Translated) -> int:
    return item.line


def _source(file: Path) -> str:
    return "standard input" if str(file) == "-" else str(file)


def _text(file: Path) -> str:
    """What is written in `file`. Raises `ManifestError` if it cannot be read."""
    from piko_operator.manifests import LARGEST_FILE, Problem, read_bytes, text_of

    try:
        content = sys.stdin.buffer.read(LARGEST_FILE + 1) if str(file) == "-" else read_bytes(file)
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror or error}") from None
    text = text_of(content, _source(file))
    if isinstance(text, Problem):
        raise ManifestError(str(text))
    return text
