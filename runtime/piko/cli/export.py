"""`piko export`: the rows of jobs as the resources that become them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from piko.cli.answers import Dsn, Form, Output, show_document, stamp
from piko.cli.reads import with_reads
from piko.cli.switch import Owner, owner_of
from piko.errors import ManifestError, NotFoundError
from piko.tables import shown
from piko.text import counted, excerpt, listed

if TYPE_CHECKING:
    from piko.store.reports.job_rows import ConfigAsWritten, JobRows, ScheduleAsWritten
    from piko.store.reports.jobs import RowOwner

_SECRET_KEY = "secret.json"  # noqa: S105 the name of a key in a Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A resource as a document; `notes` say what it does not hold, or what else is needed."""

    resource: Mapping[str, Any]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexported:
    """A row that no resource becomes, and why."""

    job_id: str
    table: str
    why: str


def export(
    job: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Only these jobs.", show_default=False)
    ] = None,
    owner: Owner = None,
    class_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The class of the operator that is to serve them.", show_default=False
        ),
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Print the rows of jobs as resources, to be applied. Writes nothing. Exit 1 if a row was left.

    Rows of SQL get adoptionPolicy Adopt, so that the resource takes them over. Secrets are not printed.
    """
    wanted = owner_of(owner)
    rows = with_reads(dsn, lambda reads: reads.rows(job or ()))
    if missing := set(job or ()) - {item.job_id for item in rows}:
        raise NotFoundError(f"no rows of {listed(sorted(missing))}; `piko jobs` lists the jobs")
    found, left = exported(rows, owner=wanted, class_name=class_name)
    if output.is_document:
        items = [item.resource for item in found]
        show_document({"apiVersion": "v1", "kind": "List", "items": items}, output)
    else:
        for line in _yaml(found):
            typer.echo(line)
    for item in left:
        typer.echo(f"piko: left: {item.job_id} in {item.table}: {excerpt(shown(item.why))}", err=True)
    if left:
        typer.echo(f"piko: {counted(len(found), 'resource')}, {len(left)} left", err=True)
        raise typer.Exit(1)


def exported(
    rows: Iterable[JobRows], *, owner: RowOwner | None = None, class_name: str | None = None
) -> tuple[list[Exported], list[Unexported]]:
    """The resources of `rows`, and what is left of them."""
    found: list[Exported] = []
    left: list[Unexported] = []
    names: set[str] = set()
    for item in rows:
        name = _free_name(item.job_id, names)
        for table, row in (("scheduled_job", item.schedule), ("job_config", item.config)):
            if row is None or not _is_of(row.managed_by, owner):
                continue
            try:
                found.append(_resource(row, name, class_name))
            except ManifestError as error:
                left.append(Unexported(job_id=item.job_id, table=table, why=str(error)))
    return found, left


def _resource(row: ScheduleAsWritten | ConfigAsWritten, name: str, class_name: str | None) -> Exported:
    """Raises `ManifestError` if no resource becomes the row."""
    from piko.store.reports.job_rows import ScheduleAsWritten

    metadata = _metadata(row.managed_by, name)
    extra: dict[str, Any] = {} if class_name is None else {"className": class_name}
    if row.managed_by is None:
        extra["adoptionPolicy"] = "Adopt"
    notes = (
        [] if row.managed_by is None else ["The policies of its resource are not in the row: its defaults."]
    )
    if isinstance(row, ScheduleAsWritten):
        return _schedule(row, metadata, extra, notes)
    return _config(row, metadata, extra, notes)


def _schedule(
    row: ScheduleAsWritten, metadata: Mapping[str, str], extra: Mapping[str, str], notes: list[str]
) -> Exported:
    from piko_operator.from_rows import schedule_document

    if row.paused_until is not None:
        notes.append(f"The row is paused until {stamp(row.paused_until)}; the resource, without an end.")
    return Exported(resource=schedule_document(row.row, metadata=metadata, extra=extra), notes=notes)


def _config(
    row: ConfigAsWritten, metadata: Mapping[str, str], extra: dict[str, Any], notes: list[str]
) -> Exported:
    from piko.model.config_schema import HIDDEN
    from piko.model.configs import ConfigContent
    from piko_operator.from_rows import config_document

    text = json.dumps(row.config, ensure_ascii=False)
    if HIDDEN in text:
        raise ManifestError(
            "config_json holds values that are secret by the job's model or by their names, which are not "
            "printed: move them to secret_json, or write the resource by hand with spec.configFrom"
        )
    if row.has_secret:
        secret = f"{metadata['name']}-config"
        extra = extra | {"configFrom": [{"secretKeyRef": {"name": secret, "key": _SECRET_KEY}}]}
        notes.append(
            f"Its secret part is not printed: put it, a JSON object, into the key {_SECRET_KEY} of a Secret "
            f"{secret} first; until then the row stays as it is."
        )
    content = ConfigContent(
        job_id=row.job_id,
        schema_version=row.schema_version,
        config_json=text,
        effective_from=row.effective_from,
    )
    return Exported(resource=config_document(content, metadata=metadata, extra=extra), notes=notes)


def _metadata(owner: str | None, name: str) -> dict[str, str]:
    """That of the resource that owns the row; without one only a name, so that kubectl's namespace holds."""
    parts = (owner or "").split("/")
    return {"name": parts[2], "namespace": parts[1]} if len(parts) == 4 else {"name": name}


def _free_name(job_id: str, taken: set[str]) -> str:
    from piko.imports.translations import name_of

    name = name_of(job_id, taken)
    taken.add(name)
    return name


def _is_of(managed_by: str | None, owner: RowOwner | None) -> bool:
    return owner is None or (owner == "sql") == (managed_by is None)


def _yaml(found: Sequence[Exported]) -> Iterator[str]:
    from piko_operator.documents import yaml_text

    for number, item in enumerate(found):
        if number:
            yield "---"
        for note in item.notes:
            yield f"# {shown(note)}"
        yield yaml_text(item.resource)
