"""`kubectl piko`: the same command for somebody who has a kubeconfig and nothing else.

It finds a running pod of a release and runs `piko` there by `kubectl exec`: with the user's own rights, and
with the settings and the database of the release, neither of which leaves the cluster. What a person does is
logged in `change_log` under the name by which the cluster knows them. Commands without a database run here.
Where a resource owns the row, pause and resume patch the resource.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from piko.cli import main as piko
from piko.cli.at_resource import patch_of, switched_job
from piko.errors import NotFoundError, PikoError, RefusedError

_HERE = ("completion", "dev", "next", "validate")
"""Commands about files and texts of this machine."""
_NOT_THERE = {"run": "the chart runs replicas", "web": "the chart serves the page by a Deployment"}
_VALUED = ("--namespace", "--context", "--kubeconfig", "--release", "--pod")
_SHORT = {"-n": "--namespace"}
_COMPONENTS = ("runtime", "web")
"""Whose pods have the command: those that run jobs first, since they have a spool, too."""
_HELP = f"""usage: kubectl piko [-n NAMESPACE] [--context NAME] [--kubeconfig FILE] [--release NAME]
                    [--pod NAME] COMMAND ...

Runs `piko COMMAND` in a pod of the release. These options come before the command. {", ".join(_HERE)} run
on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A running pod that has the command."""

    namespace: str
    name: str
    release: str
    component: str
    ready: bool


def main() -> None:
    """Run `piko` in a pod, and exit as it did."""
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
    kubectl = _kubectl(options)
    pod = choose(_pods(kubectl), release=options.get("--release"), name=options.get("--pod"))
    instead = _at_resource(kubectl, pod, command)
    inside = instead or in_pod(pod, command, user=_user(kubectl), columns=_columns())
    return _called([*kubectl, *inside]).returncode


def _at_resource(kubectl: Sequence[str], pod: Pod, command: Sequence[str]) -> list[str] | None:
    """The patch of the resource that owns the row which `command` pauses or resumes; None: none does."""
    job = switched_job(command)
    if job is None:
        return None
    asked = in_pod(pod, ["jobs", job, "-o", "json"], user=None, columns=None)
    done = _called([*kubectl, *asked], capture=True)
    found = json.loads(done.stdout) if done.returncode == 0 else []
    owner = found[0]["managed_by"] if found else None
    return None if owner is None else patch_of(command, owner)


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


def choose(pods: Sequence[Pod], *, release: str | None, name: str | None) -> Pod:
    """The pod to run in: a ready one, of the runtime before the web.

    Raises `NotFoundError`, and `RefusedError` if there are several releases.
    """
    found = [pod for pod in pods if (release is None or pod.release == release) and name in (None, pod.name)]
    if not found:
        what = " ".join(
            f"{option} {value}" for option, value in (("--release", release), ("--pod", name)) if value
        )
        named = ", ".join(sorted({f"{pod.release}/{pod.name}" for pod in pods})[:10])
        raise NotFoundError(
            f"no running pod {f'for {what}; there are {named}' if pods else 'of Piko in this namespace'}; "
            "name its namespace with -n, or see `kubectl get pods -A -l app.kubernetes.io/component=runtime`"
        )
    releases = sorted({pod.release for pod in found})
    if len(releases) > 1:
        raise RefusedError(f"several releases are in this namespace: {', '.join(releases)}; give --release")
    return min(found, key=lambda pod: (not pod.ready, _COMPONENTS.index(pod.component), pod.name))


def in_pod(pod: Pod, command: Sequence[str], *, user: str | None, columns: int | None) -> list[str]:
    """What kubectl is asked to run. `user` goes into `change_log`; `columns` is the terminal's width."""
    environment = [
        *([] if user is None else [f"LOGNAME={user}"]),
        *([] if columns is None else [f"COLUMNS={columns}"]),
    ]
    prefix = ["env", *environment] if environment else []
    interactive = ["-i"] if "-" in command else []
    where = ["-n", pod.namespace, pod.name, "-c", pod.component]
    return ["exec", *interactive, *where, "--", *prefix, "piko", *command]


def _kubectl(options: Mapping[str, str]) -> list[str]:
    found = shutil.which("kubectl")
    if found is None:
        raise NotFoundError("kubectl is not on the PATH, and it is what reaches the cluster; install it")
    passed = ("--namespace", "--context", "--kubeconfig")
    return [found, *(f"{name}={options[name]}" for name in passed if name in options)]


def _pods(kubectl: Sequence[str]) -> list[Pod]:
    selector = f"app.kubernetes.io/component in ({','.join(_COMPONENTS)})"
    words = ["get", "pods", "-l", selector, "--field-selector", "status.phase=Running", "-o", "json"]
    return [_pod(item) for item in _asked(kubectl, words)["items"]]


def _pod(item: Mapping[str, Any]) -> Pod:
    meta, conditions = item["metadata"], item.get("status", {}).get("conditions") or ()
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        release=meta["labels"].get("app.kubernetes.io/instance", ""),
        component=meta["labels"]["app.kubernetes.io/component"],
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
    )


def _user(kubectl: Sequence[str]) -> str | None:
    """The name by which the cluster knows the user; None if it does not say."""
    try:
        answer = _asked(kubectl, ["auth", "whoami", "-o", "json"])
    except RefusedError:  # an old cluster, or one that does not say
        return None
    name = answer.get("status", {}).get("userInfo", {}).get("username")
    return str(name) if name else None


def _asked(kubectl: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    done = _called([*kubectl, *words], capture=True)
    if done.returncode:
        raise RefusedError(f"kubectl {words[0]} {words[1]}: {done.stderr.strip() or 'no answer'}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _called(command: Sequence[str], *, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """The user's own kubectl, with the words that they gave."""
    return subprocess.run(command, capture_output=capture, text=True, check=False)  # noqa: S603


def _columns() -> int | None:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None
