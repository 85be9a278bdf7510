"""`piko diff`: what resources say, what the rows hold, and what of that is in force."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import Dsn, Form, Output, show_document, show_table
from piko.cli.reads import with_reads
from piko.tables import Row
from piko.text import counted

if TYPE_CHECKING:
    from piko.cli.row_comparison import ComparedResource, RowDifference


def diff(
    job: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Only these jobs.", show_default=False)
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="PATH",
            help="A file, a folder, or - for standard input; may be repeated. Default: the resources of the "
            "cluster that kubectl reaches.",
            show_default=False,
        ),
    ] = None,
    dsn: Dsn = None,
    output: Form = Output.TEXT,
) -> None:
    """Compare resources with the rows, and the rows with what is in force. Exit 1 if something differs.

    Of a file only the jobs in it are compared; of the cluster also rows whose resource is not there.
    """
    from piko.cli.row_comparison import differences, without_resource

    declared = _of_files(file) if file else of_cluster()
    chosen = [item for item in declared if not job or item.resource.spec.job_id in job]
    wanted = set(job or ()) or {item.resource.spec.job_id for item in chosen if file}
    rows = with_reads(dsn, lambda reads: reads.rows(wanted)) if wanted or not file else []
    by_job = {item.job_id: item for item in rows}
    found = [line for item in chosen for line in differences(item, by_job.get(item.resource.spec.job_id))]
    if not file:
        found += without_resource(declared, rows)
    _show(found, len(chosen), output)
    if found:
        raise typer.Exit(1)


def of_cluster() -> list[ComparedResource]:
    """The resources of all namespaces, or of one if those are all that the user may list.

    Raises `RefusedError`, and `ManifestError` for one that is not valid.
    """
    from piko.cli.kubectl_calls import Kubectl, KubectlError, given_options
    from piko.cli.row_comparison import ComparedResource
    from piko_operator.manifests import parse_manifest
    from piko_operator.resources import PikoBackfill

    kubectl, words = Kubectl(given_options.get()), ["get", "pikoschedules.piko.dev,pikojobconfigs.piko.dev"]
    try:
        items = kubectl.asked([*words, "-A"])["items"]
    except KubectlError as error:
        if not error.forbids:
            raise
        items = kubectl.asked(words)["items"]
    found = []
    for item in items:
        place = f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}"
        resource = parse_manifest(item, place)
        assert not isinstance(resource, PikoBackfill)
        found.append(ComparedResource(resource=resource, namespace=resource.metadata.namespace))
    return found


def _of_files(given: Iterable[Path]) -> list[ComparedResource]:
    """The resources of files. Raises `ManifestError` with every problem."""
    from piko.cli.manifests import valid_in
    from piko.cli.row_comparison import ComparedResource
    from piko_operator.resources import PikoBackfill

    return [
        ComparedResource(resource=placed.resource, namespace=placed.namespace)
        for placed in valid_in(given)
        if not isinstance(placed.resource, PikoBackfill)
    ]


def _show(found: Sequence[RowDifference], compared: int, output: Output) -> None:
    if output.is_document:
        show_document({"compared": compared, "differences": found}, output)
        return
    rows = [Row(cells=[item.job_id, item.kind, item.field, item.declared, item.found]) for item in found]
    columns = ["JOB", "RESOURCE", "FIELD", "DECLARED", "FOUND"]
    nothing = f"nothing differs; {counted(compared, 'resource')} compared"
    show_table(
        columns, rows, otherwise=nothing, shorten=[] if output is Output.WIDE else ["DECLARED", "FOUND"]
    )
