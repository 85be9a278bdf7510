"""`piko validate`: resource files checked as the API server, the operator and the runtime would."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Output, show_json, with_database
from piko.errors import ManifestError, ScheduleError

if TYPE_CHECKING:
    from piko_operator.resources import Manifest, PikoJobConfig

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a file says of one job, and whether it can be used."""

    file: str
    kind: str | None
    name: str | None
    valid: bool
    message: str


def validate(
    file: Annotated[
        list[Path],
        typer.Option("--file", "-f", metavar="PATH", help="A file, a folder, or - ; may be repeated."),
    ],
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Zone of what names none; else PIKO_TIMEZONE, else UTC."),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(metavar="MODULE:ATTRIBUTE", help="Check configs against the models of this app."),
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Check resource files, offline; exit 1 if one of them cannot be used.

    With --dsn configs are checked against the JSON Schemas that running replicas have published, with --app
    against the models themselves.
    """
    import os

    zone = timezone or os.environ.get("PIKO_TIMEZONE") or "UTC"
    findings: list[Finding] = []
    resources: list[tuple[str, Manifest]] = []
    for path in _paths(file):
        try:
            resources.extend((str(path), item) for item in _read(path))
        except ManifestError as error:
            findings.extend(
                Finding(str(path), None, None, valid=False, message=line) for line in str(error).splitlines()
            )
    findings.extend(_doubles(resources))
    schemas = _schemas(resources, dsn)
    models = _models(app)
    findings.extend(_judge(file, item, zone, schemas, models) for file, item in resources)
    if output is Output.JSON:
        show_json(findings)
    else:
        _show(findings)
    if any(not item.valid for item in findings):
        raise typer.Exit(1)


def _paths(given: list[Path]) -> Iterator[Path]:
    from piko.cli.manifests import read_text
    from piko.dev.files import OURS

    for path in given:
        if path.is_dir():
            found = sorted(item for item in path.rglob("*") if item.suffix in _SUFFIXES and item.is_file())
            yield from (item for item in found if OURS.search(read_text(item)))  # others keep YAML there, too
        else:
            yield path


def _read(path: Path) -> list[Manifest]:
    from piko.cli.manifests import read_manifests

    return read_manifests(path)


def _doubles(resources: list[tuple[str, Manifest]]) -> Iterator[Finding]:
    first: dict[tuple[str, str], str] = {}
    for file, item in resources:
        where = f"{item.metadata.name} in {file}"
        earlier = first.setdefault((item.kind, item.spec.job_id), where)
        if earlier != where:
            message = (
                f"spec.jobId: {item.spec.job_id!r} belongs to {earlier} already; a job has one {item.kind}"
            )
            yield Finding(file, item.kind, item.metadata.name, valid=False, message=message)


def _judge(
    file: str,
    item: Manifest,
    zone: str,
    schemas: Mapping[str, str | None] | None,
    models: Mapping[str, object] | None,
) -> Finding:
    from piko.cli.manifests import schedule_of
    from piko.clock import SystemClock
    from piko.schedule import explain
    from piko_operator.resources import PikoSchedule

    name = item.metadata.name
    if isinstance(item, PikoSchedule):
        try:
            explanation = explain(schedule_of(item, zone), now=SystemClock().now(), count=1)
        except ScheduleError as error:
            return Finding(file, item.kind, name, valid=False, message=f"spec.schedule: {error}")
        return Finding(file, item.kind, name, valid=True, message=explanation.sentence)
    problem = _config_problem(item, schemas, models)
    said = "valid" if problem is None else problem
    if problem is None and schemas is None and models is None:
        said = "well-formed; the job's own model was not asked (--app or --dsn)"
    return Finding(file, item.kind, name, valid=problem is None, message=said)


def _schemas(resources: list[tuple[str, Manifest]], dsn: str | None) -> Mapping[str, str | None] | None:
    from piko.store.overview import Overview

    if dsn is None:
        return None
    job_ids = {item.spec.job_id for _, item in resources}
    return with_database(dsn, lambda database: Overview(database=database).schemas(job_ids))


def _models(app: str | None) -> Mapping[str, object] | None:
    from piko.cli.run import load_app

    return None if app is None else {job.job_id: job.schema for job in load_app(app).registry}


def _config_problem(
    item: PikoJobConfig, schemas: Mapping[str, str | None] | None, models: Mapping[str, object] | None
) -> str | None:
    if item.spec.config_from and (schemas or models):
        return None  # what the secrets add is not known here
    job_id = item.spec.job_id
    if models is not None:
        return _against_model(item, models)
    if schemas is None:
        return None
    if job_id not in schemas:
        return f"spec.jobId: no replica has registered {job_id!r}, so that nobody can say what its config is"
    schema = schemas[job_id]
    return None if schema is None else _against_schema(item, schema)


def _against_model(item: PikoJobConfig, models: Mapping[str, object]) -> str | None:
    from piko.errors import ConfigError
    from piko.scheduler.configs import typed_config

    job_id = item.spec.job_id
    if job_id not in models:
        return f"spec.jobId: the app has no job {job_id!r}; it has {', '.join(sorted(models)) or 'none'}"
    try:
        typed_config(models[job_id], json.dumps(item.spec.config), None)  # type: ignore[arg-type]
    except ConfigError as error:
        return f"spec.config: {error}"
    return None


def _against_schema(item: PikoJobConfig, schema: str) -> str | None:
    from jsonschema import Draft202012Validator

    found = sorted(
        Draft202012Validator(json.loads(schema)).iter_errors(item.spec.config),
        key=lambda error: error.json_path,
    )
    problems = [f"spec.config{error.json_path.removeprefix('$')}: {error.message}" for error in found]
    return "; ".join(problems) or None


def _show(findings: list[Finding]) -> None:
    for item in findings:
        subject = f"{item.kind} {item.name} ({item.file}): " if item.kind else ""
        typer.echo(f"{'ok     ' if item.valid else 'INVALID'} {subject}{item.message}")
    bad = sum(not item.valid for item in findings)
    typer.echo(f"{len(findings) - bad} valid, {bad} not" if findings else "nothing to check")
