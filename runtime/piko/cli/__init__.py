"""The `piko` command, also found by kubectl as `kubectl piko`.

Each group of subcommands is a module of this package, imported when one of its subcommands is asked for: the
start of a replica does not pay for the others. It imports heavy modules inside its functions, so that the
command starts quickly, and raises a `PikoError` for a problem that a person has to act on; `main` prints it.

Exit codes: 0, success; 1, action is needed; 2, the command could not be carried out because its arguments are
wrong, a setting is wrong, or the database cannot be reached.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

import typer

from piko.cli.invocation import as_called, program_name
from piko.cli.subcommands import SUBCOMMANDS
from piko.errors import PikoError, SchemaError


def main() -> None:
    """Run the command line."""
    try:
        program(_named(sys.argv[1:]))(prog_name=program_name())
    except PikoError as error:
        typer.echo(f"piko: {as_called(str(error))}", err=True)
        raise SystemExit(1 if isinstance(error, SchemaError) else 2) from None


def _named(arguments: Sequence[str]) -> Sequence[str]:
    """The subcommand that the first argument names; every one where it names none, such as for the help."""
    return arguments[:1] if arguments and arguments[0] in SUBCOMMANDS else tuple(SUBCOMMANDS)


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"piko {version('piko')}")
        raise typer.Exit


def program(names: Sequence[str] = tuple(SUBCOMMANDS)) -> typer.Typer:
    """The command line with the subcommands `names`, by default all; no module of another is imported."""
    commands = typer.Typer(
        name="piko",
        help="Async Python data jobs, scheduled with kubectl or SQL.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    commands.callback()(_program)
    for name in names:
        subcommand = _imported(SUBCOMMANDS[name].path)
        if isinstance(subcommand, typer.Typer):
            commands.add_typer(subcommand, name=name)
        else:
            commands.command(name)(subcommand)
    return commands


def _imported(path: str) -> typer.Typer | Callable[..., None]:
    module, _, attribute = path.partition(".")
    found: typer.Typer | Callable[..., None] = getattr(import_module(f"piko.cli.{module}"), attribute)
    return found


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
