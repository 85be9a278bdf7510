"""The same read of each release in a cluster, for `kubectl piko -A`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

import typer

from piko.cli.answers import Output, show_document
from piko.cli.invocation import PLUGIN, as_called, called_as
from piko.cli.kubectl_calls import Kubectl
from piko.cli.kubectl_options import RELEASE
from piko.cli.web_service import WebApi, WebService, reached
from piko.errors import PikoError

Read = Callable[[WebApi], int]
_CANNOT = 2


def read_each(kubectl: Kubectl, services: Sequence[WebService], read: Read, *, output: Output) -> int:
    """Show what `read` shows of each, under its name, or one document with all; the worst exit code.

    A release that cannot be asked holds up no other.

    - `read`: shows what a service says; its exit code.
    """
    if output.is_document:
        return _as_one_document(kubectl, services, read, output)
    worst = 0
    for number, service in enumerate(services):
        typer.echo(f"{chr(10) if number else ''}# namespace {service.namespace}, release {service.release}")
        code, problem = _read(kubectl, service, read)
        if problem is not None:
            typer.echo(f"kubectl piko: {service.namespace}/{service.release}: {problem}", err=True)
        worst = max(worst, code)
    return worst


def _as_one_document(kubectl: Kubectl, services: Sequence[WebService], read: Read, output: Output) -> int:
    import yaml

    worst, found = 0, []
    for service in services:
        said = io.StringIO()
        with redirect_stdout(said):
            code, problem = _read(kubectl, service, read)
        text = said.getvalue()
        answer = json.loads(text or "null") if output is Output.JSON else yaml.safe_load(text)
        named = {"namespace": service.namespace, "release": service.release}
        found.append({**named, "answer": answer, "error": problem})
        worst = max(worst, code)
    show_document({"releases": found}, output)
    return worst


def _read(kubectl: Kubectl, service: WebService, read: Read) -> tuple[int, str | None]:
    """The exit code, and why the service could not be asked, with the commands of this release."""
    everywhere = called_as.get() or PLUGIN
    release = "" if RELEASE in everywhere else f" {RELEASE}={service.release}"
    token = called_as.set(f"{everywhere} -n {service.namespace}{release}")
    try:
        with reached(kubectl, service) as api:
            return read(api), None
    except PikoError as error:
        return _CANNOT, as_called(str(error))
    finally:
        called_as.reset(token)
