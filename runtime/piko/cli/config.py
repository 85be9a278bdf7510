"""`piko config`: the history of a job's config, and rollback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.act import owned_by_resource
from piko.cli.answers import (
    Dsn,
    Form,
    Job,
    Output,
    author,
    first_line,
    show_json,
    show_table,
    stamp,
    unknown_job,
    with_database,
)
from piko.errors import RefusedError
from piko.tables import Row

if TYPE_CHECKING:
    from piko.model.configs import ConfigRevision
    from piko.store.engine import Database

commands = typer.Typer(
    help="Show the config history of a job and roll back to a revision.", no_args_is_help=True
)


@commands.command()
def history(job: Job, dsn: Dsn = None, output: Form = Output.TEXT) -> None:
    """List the revisions of a job's config, newest first. Secrets are not shown."""
    found = with_database(dsn, lambda database: _revisions(database, job))
    if output is Output.JSON:
        show_json([_shown(item) for item in found])
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
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Write a revision's content to `job_config` again, effective at once. It becomes a new revision."""

    async def write(database: Database) -> ConfigRevision:
        from piko.store.edits import Edits

        found = {item.revision: item for item in await _revisions(database, job)}
        revision = found.get(to)
        if revision is None:
            known = ", ".join(map(str, sorted(found))) or "none"
            raise RefusedError(f"{job}: its config has no revision {to}; known revisions: {known}")
        if revision.secret_blanked_at is not None and not keep_secret:
            raise RefusedError(
                f"{job}: revision {to} held a secret part, which was removed at "
                f"{stamp(revision.secret_blanked_at)} because it was no longer in force; only its config is "
                "left. Roll back to that with --keep-secret, which keeps the row's current secret_json"
            )
        if revision.error is not None:
            raise RefusedError(f"{job}: revision {to} never took effect: {revision.error}")
        edit = await Edits(database=database).restore_config(
            revision, author=f"{author()} (rollback to {to})", keep_secret=keep_secret
        )
        if edit.owner is not None:
            patch: dict[str, object] = {"spec": {"config": json.loads(revision.config_json)}}
            raise owned_by_resource(job, edit.owner, kind="PikoJobConfig", patch=patch)
        return revision

    revision = with_database(dsn, write)
    if output is Output.JSON:
        show_json(_shown(revision))
    else:
        typer.echo(f"{job}: rolled back to the config of revision {to}: {first_line(revision.config_json)}")


async def _revisions(database: Database, job_id: str) -> list[ConfigRevision]:
    from piko.store.configs import ConfigStore
    from piko.store.reports.overview import Overview

    found = (await ConfigStore(database=database).revisions([job_id]))[::-1]
    if not found and await Overview(database=database).job(job_id) is None:
        raise await unknown_job(database, job_id)
    return found


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
