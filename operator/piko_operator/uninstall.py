"""`python -m piko_operator.uninstall`: removes the finalizers of an operator that has been uninstalled.

The chart runs it after the operator has been deleted; `kubectl piko uninstall` is the same for a person. Exit
0 if all are removed, 1 if some are left, 2 if an operator still runs or the API server does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from piko.clock import SystemClock
from piko.errors import InputError
from piko_operator.api_session import connect
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.finalizer_removal import Served
from piko_operator.uninstallation import uninstall

_WAIT_S, _LONGEST_WAIT_S = 60.0, 3600.0


def main() -> int:
    """Do it; the exit code."""
    given = _options().parse_args()
    namespace, _, name = given.lease.partition("/")
    served = Served(
        class_name=given.class_name or None,
        namespaces=tuple(given.namespace),
        lease_namespace=namespace,
        lease_name=name,
    )
    try:
        return asyncio.run(_uninstall(served, wait_s=given.wait, dry_run=given.dry_run))
    except (InputError, ClusterError) as error:
        sys.stderr.write(f"piko_operator.uninstall: {error}\n")
        return 2


async def _uninstall(served: Served, *, wait_s: float, dry_run: bool) -> int:
    clock = SystemClock()
    async with await connect() as session:
        cluster = Cluster(session=session, clock=clock)
        return await uninstall(cluster, served, clock=clock, wait_s=wait_s, dry_run=dry_run, say=_say)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m piko_operator.uninstall", description=__doc__)
    parser.add_argument(
        "--lease", type=_lease, metavar="NAMESPACE/NAME", required=True, help="the Lease of the operator"
    )
    parser.add_argument("--class-name", metavar="NAME", help="the operator's class; none: no class")
    parser.add_argument(
        "--namespace", metavar="NAME", action="append", default=[], help="only here; may be repeated"
    )
    parser.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        default=_WAIT_S,
        help="how long an operator may take to stop",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    return parser


def _lease(text: str) -> str:
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a namespace and a name, such as piko/piko-operator"
        )
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_WAIT_S:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds from 0 to {_LONGEST_WAIT_S:g}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
