"""`piko db`: create, upgrade and inspect the tables of the database."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Output, dsn_in_force, show_document
from piko.cli.invocation import as_called

if TYPE_CHECKING:
    from piko.store.schema.status import SchemaStatus

commands = typer.Typer(help="Create, upgrade and check the tables of the database.", no_args_is_help=True)


class Dialect(StrEnum):
    """Databases that `dump` writes SQL for."""

    MYSQL = "mysql"
    MARIADB = "mariadb"
    SQLITE = "sqlite"


@commands.command()
def upgrade(
    dsn: Dsn = None,
    lock_wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for another upgrade to finish.")
    ] = 60,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List the steps on a new database, too.")
    ] = False,
    output: Form = Output.TEXT,
) -> None:
    """Make the tables, or upgrade them to this release, and list what changed.

    Safe to run repeatedly, concurrently, and again after an interruption.
    """
    from piko.store.schema import migrate
    from piko.store.schema.release import revisions
    from piko.store.schema.tables import metadata

    first, applied, made = revisions()[0], list[str](), ""

    def show(revision: str, what: str, changed: bool) -> None:
        nonlocal made
        applied.append(revision)
        if changed and revision == first:
            made = f"made {len(metadata.tables)} tables; "
        if changed and (verbose or not made) and not output.is_document:
            typer.echo(f"{revision}  {what}")

    status = asyncio.run(migrate.upgrade(dsn_in_force(dsn), lock_wait_s=lock_wait, on_revision=show))
    _finish(status, output, done=made, applied=applied)


@commands.command()
def check(
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Compare the tables with this release. Exit 1 if they need an upgrade or a repair."""
    from piko.store.schema import migrate

    _finish(asyncio.run(migrate.check(dsn_in_force(dsn))), output)


@commands.command()
def dump(
    dialect: Annotated[Dialect, typer.Option(help="Target database.")] = Dialect.MYSQL,
) -> None:
    """Print the SQL that creates the tables, to be run by hand. Needs no database."""
    from piko.store.schema import migrate

    typer.echo(migrate.dump(dialect), nl=False)


def _finish(status: SchemaStatus, output: Output, *, done: str = "", **more: object) -> None:
    """Say what was `done` and what `status` is, with `more` for programs; exit 1 if something is to do."""
    from piko.store.schema.status import SchemaState

    well = status.state in (SchemaState.CURRENT, SchemaState.AHEAD)
    if output.is_document:
        answer = {
            "state": status.state,
            "database": status.where,
            "revision": status.revision,
            "expected": status.expected,
            "differences": list(status.differences),
            "message": status.message,
            **more,
        }
        show_document(answer, output)
    else:
        typer.echo(f"{done}{as_called(status.message)}", err=not well)
    if not well:
        raise typer.Exit(1)
