"""`kubectl piko`: the same command for somebody who has a kubeconfig and nothing else.

Each command takes the least right that it can. Where a resource owns the row of a job, `pause`, `resume` and
`trigger` act at the resource, and `backfill` makes a PikoBackfill. What only reads asks the web service of
the release, through the API server. Any other command, and one whose web service cannot be asked, runs in a
pod of the release by `kubectl exec`: with the settings and the database of the release, neither of which
leaves the cluster. Commands without a database run here. What a person does is logged in `change_log` under
the name by which the cluster knows them.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import typer

from piko.cli import main as piko
from piko.cli import program
from piko.cli.at_resource import act_of, carry_out
from piko.cli.backfill_resource import carry_out_backfill, read_backfill
from piko.cli.done_by import DoneBy, done_by, readings
from piko.cli.each_release import read_each
from piko.cli.in_pod import execute
from piko.cli.invocation import as_called, called_as, plugin_with, program_name
from piko.cli.kubectl_calls import Kubectl, given_options
from piko.cli.kubectl_options import (
    EVERYWHERE,
    NAMESPACE,
    POD,
    RELEASE,
    STREAMS,
    PluginCall,
    output_of,
    read_call,
)
from piko.cli.reads import web_reads
from piko.cli.subcommands import SUBCOMMANDS
from piko.cli.web_service import (
    WebApi,
    WebUnavailableError,
    reached,
    web_service,
    web_services,
)
from piko.errors import PikoError, RefusedError

_BY_SIGNAL = 128
_READINGS = readings()
_HERE = sorted(name for name, known in SUBCOMMANDS.items() if known.here)
_HELP = f"""usage: kubectl piko [-n NAMESPACE | -A] [--context NAME] [--kubeconfig FILE] [--release NAME]
                    [--pod NAME] COMMAND ...

`pause`, `resume` and `trigger` act at the resource that owns the job; `backfill` makes a PikoBackfill
for it. {", ".join(_READINGS[:-1])}
and {_READINGS[-1]} ask the web service of the release, or with -A of each release in the cluster.
Other commands run as `piko COMMAND` in a pod of the release. {", ".join(_HERE)} run on this machine."""


def main() -> None:
    """Do what the command says, and exit as it did."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        call = read_call(sys.argv[1:])
        called_as.set(plugin_with(call.options))
        given_options.set({**call.options, **({EVERYWHERE: ""} if call.everywhere else {})})
        raise SystemExit(_run(call))
    except PikoError as error:
        typer.echo(f"kubectl piko: {as_called(str(error))}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(_BY_SIGNAL + signal.SIGINT) from None


def _end(number: int, _frame: object) -> None:
    """End in order, so that no kubectl of this command is left."""
    raise SystemExit(_BY_SIGNAL + number)


def _run(call: PluginCall) -> int:
    command = call.command
    if not command or command[0] in ("-h", "--help"):
        typer.echo(_HELP)
        return 0
    known = SUBCOMMANDS.get(command[0])
    if known is not None and known.absent is not None:
        raise RefusedError(f"{command[0]}: {known.absent}; see `kubectl get deployments`")
    by = done_by(command)
    if by is DoneBy.PLUGIN:
        sys.argv[1:] = command
        piko()
        return 0
    kubectl = Kubectl(call.options)
    if call.everywhere:
        return _everywhere(kubectl, call, by)
    done = _at_resource(kubectl, call)
    if done is not None:
        return done
    release, pod = call.options.get(RELEASE), call.options.get(POD)
    if pod is None and by is DoneBy.SERVICE:
        try:
            with reached(kubectl, web_service(kubectl, release=release)) as api:
                return _read(api, command)
        except WebUnavailableError as error:
            typer.echo(f"kubectl piko: {as_called(str(error))}; this runs in a pod instead", err=True)
    return execute(kubectl, command, release=release, name=pod)


def _at_resource(kubectl: Kubectl, call: PluginCall) -> int | None:
    """Do the command at a resource; its exit code. None: no resource can. Raises `RefusedError`."""
    namespace = call.options.get(NAMESPACE)
    if (backfill := read_backfill(call.command)) is not None:
        return carry_out_backfill(kubectl, backfill, namespace=namespace)
    act = act_of(call.command)
    return None if act is None else carry_out(kubectl, act, namespace=namespace)


def _everywhere(kubectl: Kubectl, call: PluginCall, by: DoneBy) -> int:
    """Read from each release of the cluster. Raises `RefusedError`."""
    if by is not DoneBy.SERVICE or not {*STREAMS, POD}.isdisjoint((*call.command, *call.options)):
        raise RefusedError(
            f"-A: shows what each release says, once, by {', '.join(_READINGS)}; anything else is "
            "done in one namespace: -n"
        )
    services = web_services(kubectl, release=call.options.get(RELEASE))
    return read_each(kubectl, services, lambda api: _read(api, call.command), output=output_of(call.command))


def _read(api: WebApi, command: Sequence[str]) -> int:
    """Run `command` here, on what the web service says; its exit code. Raises `WebUnavailableError`."""
    from piko.cli.web_reads import WebReads

    web_reads.set(WebReads(api=api))
    try:
        program(command[:1])(args=list(command), prog_name=program_name())
    except SystemExit as end:
        return int(end.code or 0)
    return 0
