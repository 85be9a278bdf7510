"""`piko config`: the history of a job's config, and rollback."""

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
from piko.tables import Row

if TYPE_CHECKING:
    from piko.model.configs import ConfigRevision

commands = typer.Typer(
    help="Show the config history of a job and roll back to a revision.", no_args_is_help=True
)


@commands.command()
def history(job: Job, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """List the revisions of a job's config, newest first. Secrets are not shown."""
    from piko.steering import configs

    found = with_database(dsn, lambda database: configs.revisions(database, job))
    if output.is_document:
        show_document([_shown(item) for item in found], output)
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
                (item.config_json if wide else first_line(item.config_json, length=200)) + _secret_part(item),
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
        show_document(_shown(revision), output)
        return
    done = f"would be rolled back to the config of revision {to} (--dry-run)"
    if not dry_run:
        done = f"rolled back to the config of revision {to}"
    typer.echo(f"{job}: {done}: {first_line(revision.config_json)}")


def _secret_part(item: ConfigRevision) -> str:
    if item.secret_blanked_at is not None:
        return " + secret (removed)"
    return " + secret" if item.secret_json else ""


def _shown(item: ConfigRevision) -> dict[str, object]:
    return {
        "job_id": item.job_id,
        "revision": item.revision,
        "schema_version": item.schema_version,
        "config": json.loads(item.config_json),
        "has_secret": item.secret_json is not None,
        "secret_blanked_at": item.secret_blanked_at,
        "effective_from": item.effective_from,
        "author": item.author,
        "source": item.source,
        "error": item.error,
    }
