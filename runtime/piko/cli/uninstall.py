"""`piko uninstall`: removes the finalizers of an operator that runs no more, with the user's rights."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from piko.cli.answers import DryRun
from piko.cli.kubectl_options import EVERYWHERE, NAMESPACE, POD, RELEASE
from piko.errors import RefusedError

if TYPE_CHECKING:
    from piko.cli.kubectl_calls import Kubectl
    from piko_operator.finalizer_removal import Served

_WAIT_S, _LONGEST_WAIT_S = 60.0, 3600.0
_ACCEPT = "^/apis/(piko[.]dev/v1/|coordination[.]k8s[.]io/v1/namespaces/[^/]+/leases/)"
_REJECT = "^(POST|PUT|DELETE)$"


def uninstall(
    class_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The class of the operator. Default: resources without a class.",
            show_default=False,
        ),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(
            "--in",
            metavar="NAMESPACE",
            help="Only resources of this namespace; may be repeated. Default: of all.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, max=_LONGEST_WAIT_S, help="How long an operator may take to stop."
        ),
    ] = _WAIT_S,
    dry_run: DryRun = False,
) -> None:
    """Remove the operator's finalizers from its resources, so that they can be deleted without it.

    The operator is that of the release in kubectl's namespace, -n, or with -A any, and has to be stopped.
    Resources stay, and no row is changed. Exit 1 if a finalizer is left.
    """
    from piko.cli.kubectl_calls import Kubectl, given_options
    from piko_operator.finalizer_removal import Served

    options = given_options.get()
    if meaningless := {RELEASE, POD} & options.keys():
        raise RefusedError(
            f"uninstall: takes no {', '.join(sorted(meaningless))}: a resource names the Lease of its "
            "operator, and -n is the namespace of that; --class-name and --in choose among its resources"
        )
    kubectl = Kubectl(options)
    namespace = None if EVERYWHERE in options else options.get(NAMESPACE) or _own_namespace(kubectl)
    served = Served(class_name=class_name, namespaces=tuple(within or ()), lease_namespace=namespace)
    code = _uninstall(kubectl, served, wait_s=wait, dry_run=dry_run)
    if code:
        raise typer.Exit(code)


def _uninstall(kubectl: Kubectl, served: Served, *, wait_s: float, dry_run: bool) -> int:
    """The exit code. Raises `RefusedError`."""
    from piko.cli.kubectl_proxy import proxied
    from piko.cli.proxied_cluster import ProxiedCluster
    from piko.clock import SystemClock
    from piko_operator.cluster_error import ClusterError
    from piko_operator.uninstallation import uninstall as carry_out

    with proxied(kubectl, accept=_ACCEPT, reject=_REJECT) as where, ProxiedCluster(where) as cluster:
        try:
            return asyncio.run(
                carry_out(
                    cluster, served, clock=SystemClock(), wait_s=wait_s, dry_run=dry_run, say=typer.echo
                )
            )
        except ClusterError as error:
            raise RefusedError(str(error)) from None


def _own_namespace(kubectl: Kubectl) -> str:
    """The namespace of kubectl's context."""
    return kubectl.text(["config", "view", "--minify", "-o", "jsonpath={..namespace}"]).strip() or "default"
