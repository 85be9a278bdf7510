"""`kubectl piko`: the same command for somebody who has a kubeconfig and nothing else.

Each command takes the least right that it can. Where a resource owns the row of a job, `pause`, `resume` and
`trigger` act at the resource. What only reads asks the web service of the release, through the API server.
Any other command, and one whose web service cannot be asked, runs in a pod of the release by `kubectl exec`:
with the settings and the database of the release, neither of which leaves the cluster. Commands without a
database run here. What a person does is logged in `change_log` under the name by which the cluster knows
them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from piko.cli import main as piko
from piko.cli import program
from piko.cli.at_resource import act_of, carry_out
from piko.cli.in_pod import execute
from piko.cli.kubectl_calls import Kubectl
from piko.cli.reads import web_reads
from piko.cli.web_service import WebUnavailableError, reached, web_service
from piko.errors import PikoError, RefusedError

_HERE = ("completion", "dev", "import", "new", "next", "test", "validate")
"""Commands about files and texts of this machine."""
_NOT_THERE = {"run": "the chart runs replicas", "web": "the chart serves the page by a Deployment"}
_READS = ("jobs", "late", "logs", "runs", "status", "why")
_RUN_ACTS = ("cancel", "retry")
_VALUED = ("--namespace", "--context", "--kubeconfig", "--release", "--pod")
_SHORT = {"-n": "--namespace"}
_HELP = f"""usage: kubectl piko [-n NAMESPACE] [--context NAME] [--kubeconfig FILE] [--release NAME]
                    [--pod NAME] COMMAND ...

`pause`, `resume` and `trigger` act at the resource that owns the job. {", ".join(_READS)}
ask the web service of the release. Other commands run as `piko COMMAND` in a pod of the release. The options
above come before the command. {", ".join(_HERE)} run on this machine."""


def main() -> None:
    """Do what the command says, and exit as it did."""
    try:
        raise SystemExit(_run(sys.argv[1:]))
    except PikoError as error:
        typer.echo(f"kubectl piko: {error}", err=True)
        raise SystemExit(2) from None


def _run(arguments: Sequence[str]) -> int:
    options, command = split(arguments)
    if not command or command[0] in ("-h", "--help"):
        typer.echo(_HELP)
        return 0
    if command[0] in _HERE:
        sys.argv[1:] = command
        piko()
        return 0
    if command[0] in _NOT_THERE:
        raise RefusedError(f"{command[0]}: {_NOT_THERE[command[0]]}; see `kubectl get deployments`")
    kubectl = Kubectl(options)
    act = act_of(command)
    done = None if act is None else carry_out(kubectl, act, namespace=options.get("--namespace"))
    if done is not None:
        return done
    if "--pod" not in options and only_reads(command):
        try:
            _read(kubectl, command, release=options.get("--release"))
        except WebUnavailableError as error:
            typer.echo(f"kubectl piko: {error}; this runs in a pod instead", err=True)
    return execute(kubectl, command, release=options.get("--release"), name=options.get("--pod"))


def only_reads(command: Sequence[str]) -> bool:
    """Whether the web service has all that `command` shows."""
    words = [*command, ""]
    return command[0] in _READS and words[1] not in _RUN_ACTS and "--dsn" not in "".join(command)


def _read(kubectl: Kubectl, command: Sequence[str], *, release: str | None) -> NoReturn:
    """Run `command` here, on what the web service says. Raises `WebUnavailableError`."""
    from piko.cli.web_reads import WebReads

    service = web_service(kubectl, release=release)
    with reached(kubectl, service) as api:
        web_reads.set(WebReads(api=api))
        program(command[:1])(args=list(command), prog_name="kubectl piko")
    raise SystemExit(0)


def split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The options before the command, and the command with its own. Raises `RefusedError`."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in ("-h", "--help"):
        name, equals, value = rest.pop(0).partition("=")
        name = _SHORT.get(name, name)
        if name not in _VALUED:
            raise RefusedError(f"{name}: is not known before the command; expected {', '.join(_VALUED)}")
        if not equals:
            if not rest:
                raise RefusedError(f"{name}: expected a value")
            value = rest.pop(0)
        options[name] = value
    return options, rest
