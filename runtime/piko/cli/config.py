"""`piko config`: the history of a job's config, rollback, and encryption."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import (
    DryRun,
    Dsn,
    Form,
    Job,
    Output,
    Reason,
    first_line,
    person,
    show_document,
    show_table,
    stamp,
    with_database,
)
from piko.cli.reads import with_reads
from piko.tables import Row

if TYPE_CHECKING:
    from piko.steering.configs import ConfigRevisionShown

commands = typer.Typer(
    help="Show the config history of a job, roll back to a revision, encrypt secret parts.",
    no_args_is_help=True,
)


@commands.command()
def history(job: Job, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """List the revisions of a job's config, newest first. Secrets are not shown."""
    found = with_reads(dsn, lambda reads: reads.config_history(job))
    if output.is_document:
        show_document(found, output)
        return
    columns = ["REVISION", "VALID", "FROM", "AUTHOR", "SOURCE", "CONFIG"]
    wide = output is Output.WIDE
    rows = [
        Row(
            cells=[
                item.revision,
                "yes" if item.error is None else "no",
                stamp(item.effective_from) or "at once",
                item.author,
                item.source,
                (_text(item) if wide else first_line(_text(item), length=200)) + _secret_part(item),
            ],
            notes=[] if item.error is None else [first_line(item.error, length=500)],
        )
        for item in found
    ]
    show_table(
        columns,
        rows,
        otherwise=f"{job}: job_config has never had a config for it",
        shorten=[] if wide else ["CONFIG", "AUTHOR"],
    )


@commands.command()
def rollback(
    job: Job,
    to: Annotated[int, typer.Option(min=1, metavar="REVISION", help="The revision to roll back to.")],
    keep_secret: Annotated[
        bool, typer.Option("--keep-secret", help="Keep the secret part that the row has now.")
    ] = False,
    reason: Reason = None,
    dry_run: DryRun = False,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Write a revision's content to `job_config` again, effective at once. It becomes a new revision."""

    from piko.steering import configs

    revision = with_database(
        dsn,
        lambda database: configs.rollback(
            database, job, to, actor=person(reason), keep_secret=keep_secret, dry_run=dry_run
        ),
    )
    if output.is_document:
        show_document(revision, output)
        return
    done = f"would be rolled back to the config of revision {to} (--dry-run)"
    if not dry_run:
        done = f"rolled back to the config of revision {to}"
    typer.echo(f"{job}: {done}: {first_line(_text(revision))}")


@commands.command()
def encrypt(
    reason: Reason = None, dry_run: DryRun = False, dsn: Dsn = None, output: Form = Output.TEXT
) -> None:
    """Encrypt the secret parts that are stored in plain text, or with another than the first key.

    The keys are those of PIKO_CONFIG_KEY. Exit code 1: the secret part of some row cannot be read.
    """
    from piko.steering import encryption

    found = with_database(
        dsn, lambda database: encryption.encrypt(database, actor=person(reason), dry_run=dry_run)
    )
    if output.is_document:
        show_document(found, output)
    else:
        done = "would be encrypted (--dry-run)" if dry_run else "encrypted"
        typer.echo(f"{done}: secret parts of {len(found.jobs)} configs and of {found.revisions} revisions")
        for job_id, why in sorted(found.unreadable.items()):
            typer.echo(f"{job_id}: {why}")
    if found.unreadable:
        raise typer.Exit(1)


def _text(item: ConfigRevisionShown) -> str:
    return json.dumps(item.config, ensure_ascii=False)


def _secret_part(item: ConfigRevisionShown) -> str:
    if item.secret_blanked_at is not None:
        return " + secret (removed)"
    return " + secret" if item.has_secret else ""
