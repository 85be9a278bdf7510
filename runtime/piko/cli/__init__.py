"""The `piko` command, also found by kubectl as `kubectl piko`.

Each group of subcommands is a module of this package. It imports heavy modules inside its functions, so that
the command starts quickly, and raises a `PikoError` for a problem that a person has to act on; `main` prints
it.

Exit codes: 0, success; 1, action is needed; 2, the command could not be carried out because its arguments are
wrong, a setting is wrong, or the database cannot be reached.
"""

from __future__ import annotations

from typing import Annotated

import typer

from piko.cli import act, backfill, config, db, dev, jobs, run, settings, spool, upcoming, validate, web
from piko.errors import PikoError, SchemaError


def main() -> None:
    """Run the command line."""
    try:
        program()()
    except PikoError as error:
        typer.echo(f"piko: {error}", err=True)
        raise SystemExit(1 if isinstance(error, SchemaError) else 2) from None


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"piko {version('piko')}")
        raise typer.Exit


def program() -> typer.Typer:
    """The command line with every subcommand."""
    commands = typer.Typer(
        name="piko",
        help="Async Python data jobs, scheduled with kubectl or SQL.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    commands.callback()(_program)
    commands.add_typer(db.commands, name="db")
    commands.add_typer(spool.commands, name="spool")
    commands.command()(run.run)
    commands.command()(dev.dev)
    commands.command()(web.web)
    commands.command()(settings.settings)
    commands.command()(jobs.jobs)
    commands.command()(jobs.runs)
    commands.command("next")(upcoming.next_instants)
    commands.command()(act.trigger)
    commands.command()(act.pause)
    commands.command()(act.resume)
    commands.command()(act.forget)
    commands.add_typer(backfill.commands, name="backfill")
    commands.add_typer(config.commands, name="config")
    commands.command()(validate.validate)
    return commands


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
