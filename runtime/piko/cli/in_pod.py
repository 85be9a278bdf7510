"""A command in a pod of the release, by `kubectl exec`: with the settings and the database of that pod."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from piko.cli.invocation import CALLED_AS, program_name
from piko.cli.kubectl_calls import Kubectl
from piko.cli.kubectl_options import STREAMS
from piko.errors import NotFoundError, RefusedError

_COMPONENTS = ("runtime", "web")
"""Whose pods have the command: those that run jobs first, since they have a spool, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A running pod that has the command."""

    namespace: str
    name: str
    release: str
    component: str
    ready: bool


def execute(kubectl: Kubectl, command: Sequence[str], *, release: str | None, name: str | None) -> NoReturn:
    """Run `command` in the pod `name`, or in one of `release`, in place of this process.

    Raises what `choose` raises, and `RefusedError` if the user may not.
    """
    pod = choose(_pods(kubectl), release=release, name=name)
    if not kubectl.may("create", "pods/exec", namespace=pod.namespace):
        raise RefusedError(
            f"{command[0]}: it runs in pod {pod.name}, and you lack the right to create pods/exec in "
            f"namespace {pod.namespace}; who has the cluster's role `edit` there has it"
        )
    kubectl.become(in_pod(pod, command, user=kubectl.user(), columns=_columns(), called_as=program_name()))


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


def in_pod(
    pod: Pod, command: Sequence[str], *, user: str | None, columns: int | None, called_as: str
) -> list[str]:
    """What kubectl is asked to run.

    - `user`: goes into `change_log`.
    - `columns`: the terminal's width; a stream there gets a terminal in the pod, too, so that it is
      interrupted and hung up there as it is here.
    - `called_as`: what stands before the commands that it prints.
    """
    environment = [
        *([] if user is None else [f"LOGNAME={user}"]),
        *([] if columns is None else [f"COLUMNS={columns}"]),
        f"{CALLED_AS}={called_as}",
    ]
    streams = columns is not None and not STREAMS.isdisjoint(command)
    interactive = ["-it"] if streams else ["-i"] if "-" in command else []
    where = ["-n", pod.namespace, pod.name, "-c", pod.component]
    return ["exec", *interactive, *where, "--", "env", *environment, "piko", *command]


def _pods(kubectl: Kubectl) -> list[Pod]:
    selector = f"piko.dev/component in ({','.join(_COMPONENTS)})"
    words = ["get", "pods", "-l", selector, "--field-selector", "status.phase=Running"]
    return [_pod(item) for item in kubectl.asked(words)["items"]]


def _pod(item: Mapping[str, Any]) -> Pod:
    meta, conditions = item["metadata"], item.get("status", {}).get("conditions") or ()
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        release=meta["labels"].get("app.kubernetes.io/instance", ""),
        component=meta["labels"]["piko.dev/component"],
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
    )


def _columns() -> int | None:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None
