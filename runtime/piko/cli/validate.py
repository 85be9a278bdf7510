"""`piko validate`: check resource files as the API server, the operator and the runtime do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Files, Form, Output, Zone, offline_zone, show_document, with_database
from piko.errors import did_you_mean
from piko.tables import shown
from piko.text import listed

if TYPE_CHECKING:
    from pydantic import BaseModel

    from piko_operator.checks import Checked
    from piko_operator.manifests import Placed, Problem
    from piko_operator.resources import PikoJobConfig, PikoSchedule


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of checking one document; `line` counts from 1."""

    file: str
    line: int | None
    kind: str | None
    name: str | None
    valid: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known about jobs from other sources: JSON Schemas from a database, models from an app."""

    schemas: Mapping[str, str | None] | None
    models: Mapping[str, type[BaseModel] | None] | None


def validate(
    file: Files,
    timezone: Zone = None,
    app: Annotated[
        str | None,
        typer.Option(metavar="MODULE:ATTRIBUTE", help="Check job ids and configs against this app."),
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Check every document in resource files, offline. Exit 1 if one of them is invalid.

    With --dsn, job ids and configs are checked against what running replicas have published; with --app,
    against the app's own jobs and models.
    """
    from piko.cli.manifests import files_in

    zone = offline_zone(timezone)
    placed: list[Placed] = []
    problems: list[Problem] = []
    for _, contents in files_in(file):
        placed.extend(contents.resources)
        problems.extend(contents.problems)
    known = _Known(schemas=_schemas(placed, dsn), models=_models(app))
    problems.extend(_duplicates(placed))
    findings = [_invalid(problem) for problem in problems]
    findings.extend(finding for item in placed for finding in _check(item, zone, known))
    findings.sort(key=lambda item: (item.file, item.line or 0))
    if output.is_document:
        show_document(findings, output)
    else:
        _show(findings)
    if any(not item.valid for item in findings):
        raise typer.Exit(1)


def _invalid(problem: Problem) -> Finding:
    return Finding(
        problem.source, problem.line, problem.kind, problem.name, valid=False, message=problem.message
    )


def _valid(item: Placed, message: str) -> Finding:
    resource = item.resource
    return Finding(
        item.source, item.line_of(), resource.kind, resource.metadata.name, valid=True, message=message
    )


def _duplicates(placed: Iterable[Placed]) -> Iterator[Problem]:
    first: dict[tuple[str, str], Placed] = {}
    for item in placed:
        kind, job_id = item.resource.kind, item.resource.spec.job_id
        if kind == "PikoBackfill":  # a job may have many
            continue
        earlier = first.setdefault((kind, job_id), item)
        if earlier is not item:
            where = f"{earlier.resource.metadata.name} in {earlier.source}, line {earlier.line_of()};"
            yield item.problem(
                f"spec.jobId: {job_id!r} is already taken by {where} a job has one {kind}", "spec", "jobId"
            )


def _check(item: Placed, zone: str, known: _Known) -> Iterator[Finding]:
    from piko_operator.resources import PikoBackfill, PikoSchedule

    unregistered = _unregistered(item.resource.spec.job_id, known)
    if unregistered is not None:
        yield _invalid(item.problem(f"spec.jobId: {unregistered}", "spec", "jobId"))
    if isinstance(item.resource, PikoSchedule):
        result = _schedule(item, item.resource, zone)
    elif isinstance(item.resource, PikoBackfill):
        result = "well-formed; which windows it runs is decided by the schedule in force when it is created"
    else:
        result = _config(item, item.resource, known)
    if not isinstance(result, str):
        yield _invalid(result)
    elif unregistered is None:
        yield _valid(item, result)


def _schedule(item: Placed, resource: PikoSchedule, zone: str) -> str | Problem:
    from piko.clock import SystemClock
    from piko_operator.checks import check_schedule

    return _result(item, check_schedule(resource, zone=zone, now=SystemClock().now()), "{} Warning: {}")


def _result(item: Placed, checked: Checked, with_warning: str) -> str | Problem:
    if checked.problem is not None:
        return item.problem(checked.problem, *checked.path)
    return checked.note if checked.warning is None else with_warning.format(checked.note, checked.warning)


def _config(item: Placed, resource: PikoJobConfig, known: _Known) -> str | Problem:
    if known.schemas is None and known.models is None:
        return "well-formed; not checked against the job's model (use --app or --dsn)"
    if resource.spec.config_from:
        return "well-formed; not checked against the job's model: spec.configFrom adds values on the cluster"
    job_id = resource.spec.job_id
    if known.models is not None and job_id in known.models:
        result = _against_model(resource, known.models[job_id])
        return result if result.startswith("valid") else item.problem(result, "spec", "config")
    schema = (known.schemas or {}).get(job_id)
    return "valid" if schema is None else _against_schema(item, resource, schema)


def _unregistered(job_id: str, known: _Known) -> str | None:
    if known.models is not None and job_id not in known.models:
        known_jobs = f"; its jobs: {listed(sorted(known.models)) or 'none'}"
        return f"the app has no job {job_id!r}{did_you_mean(job_id, known.models) or known_jobs}"
    if known.models is None and known.schemas is not None and job_id not in known.schemas:
        return f"no replica has registered {job_id!r}, so nothing would run it"
    return None


def _schemas(placed: Iterable[Placed], dsn: str | None) -> Mapping[str, str | None] | None:
    from piko.store.reports.overview import Overview

    if dsn is None:
        return None
    job_ids = {item.resource.spec.job_id for item in placed}
    return with_database(dsn, lambda database: Overview(database=database).schemas(job_ids))


def _models(app: str | None) -> Mapping[str, type[BaseModel] | None] | None:
    from piko.cli.run import load_app

    return None if app is None else {job.job_id: job.schema for job in load_app(app).registry}


def _against_model(resource: PikoJobConfig, model: type[BaseModel] | None) -> str:
    from piko.catalog.typed_config import config_warning, typed_config
    from piko.errors import ConfigError

    text = json.dumps(resource.spec.config)
    try:
        typed_config(model, text, None)
    except ConfigError as error:
        return f"spec.config: {error}"
    warning = config_warning(model, text, None)
    return "valid" if warning is None else f"valid, with a warning: spec.config: {warning}"


def _against_schema(item: Placed, resource: PikoJobConfig, schema: str) -> str | Problem:
    from piko_operator.checks import check_config

    return _result(item, check_config(resource.spec.config, schema), "{}, with a warning: {}")


def _show(findings: list[Finding]) -> None:
    for item in findings:
        where = item.file if item.line is None else f"{item.file}, line {item.line}"
        subject = f"{item.kind} {item.name} ({where})" if item.kind else where
        typer.echo(shown(f"{'ok     ' if item.valid else 'INVALID'} {subject}: {item.message}"))
    bad = sum(not item.valid for item in findings)
    typer.echo(f"{len(findings) - bad} valid, {bad} invalid" if findings else "nothing to check")
