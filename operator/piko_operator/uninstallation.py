"""What is left to do for resources when the operator is uninstalled: their finalizers are removed.

Afterwards resources, namespaces and definitions can be deleted without an operator. The resources stay, and
so do the rows: no row is changed, disabled or deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from piko.clock import Clock
from piko.text import counted, listed
from piko_operator.finalizer_removal import FinalizerRemoval, Pass, Served
from piko_operator.inventory import PLURALS
from piko_operator.resource_api import KubernetesApi
from piko_operator.stopped_operators import OperatorLeases

_PASSES = 5
_REASONS = 10
_SAY_EACH = 1_000
_ROWS = (
    "No row was changed: a job whose row is enabled goes on wherever replicas run on its database. An "
    "operator that is installed again holds the resources that are there; rows of deleted ones are orphans."
)

Say = Callable[[str], None]


async def uninstall(
    api: KubernetesApi, served: Served, *, clock: Clock, wait_s: float, dry_run: bool, say: Say
) -> int:
    """Remove the finalizers that are meant once no operator acts; 0, or 1 if some are left.

    - `wait_s`: how many seconds an operator may take to stop.
    - `dry_run`: says what would be done.
    - `say`: takes each line for the person who asked.

    A dry run returns 1 if an operator holds its Lease, too.

    Raises `RefusedError` if an operator runs, and `ClusterError` if the API server does not answer.
    """
    removal = FinalizerRemoval(api=api, served=served, progress=_each_thousand(say))
    operators = OperatorLeases(api=api, clock=clock, say=say)
    found = await removal.look()
    leases = found.leases | _named_by(served)
    if dry_run:
        held = await operators.held(leases)
        for lease in held:
            say(operators.remedy(lease))
        say(f"would remove the finalizer of {_counts(found.held)}")
        _say_deleting(found, say)
        return _left(found, say) or int(bool(held))
    await operators.until_free(leases, wait_s=wait_s)
    try:
        found = await _remove(removal, operators, leases, wait_s=wait_s)
    finally:
        say(f"removed the finalizer of {_counts(removal.removed)}")
        _say_ended(removal, say)
        say(_ROWS)
    return _left(found, say)


async def _remove(
    removal: FinalizerRemoval, operators: OperatorLeases, leases: set[str], *, wait_s: float
) -> Pass:
    """Passes until one finds nothing more to do; the last one."""
    found = Pass()
    for _ in range(_PASSES):
        before = removal.removed.total()
        found = await removal.remove()
        leases = leases | found.leases
        # One that was started meanwhile holds them again.
        await operators.until_free(leases, wait_s=wait_s)
        if removal.removed.total() == before and not found.changed:
            return found
    found.failed.add("some that are held again each time: a program sets the finalizer")
    return found


def _left(found: Pass, say: Say) -> int:
    """Say what is held still; the exit code."""
    for reason, names in list(found.others.items())[:_REASONS]:
        say(f"left alone, since {counted(names.count, 'is', 'are')} {reason}: {names}")
    if len(found.others) > _REASONS:
        say(f"left alone, too: resources of {len(found.others) - _REASONS:,} more classes or operators")
    for problem in (found.unseen, found.failed):
        if problem.count:
            what = "not listed" if problem is found.unseen else "still held"
            say(f"{what}: {problem.count:,}: {listed(problem.first, separator='; ')}")
    return 1 if found.unseen.count or found.failed.count else 0


def _say_deleting(found: Pass, say: Say) -> None:
    if found.deleting.count:
        are, their, rows = ("is", "its", "row") if found.deleting.count == 1 else ("are", "their", "rows")
        say(
            f"{found.deleting.count:,} of them {are} being deleted, and would end without {their} "
            f"deletionPolicy; {their} {rows} would stay: {found.deleting}"
        )


def _say_ended(removal: FinalizerRemoval, say: Say) -> None:
    if removal.ended.count:
        one = removal.ended.count == 1
        was, their, stays = ("was", "its", "row stays") if one else ("were", "their", "rows stay")
        say(
            f"{removal.ended.count:,} of them {was} being deleted and ended without {their} deletionPolicy; "
            f"{their} {stays}: {removal.ended}"
        )


def _named_by(served: Served) -> set[str]:
    if served.lease_namespace is None or served.lease_name is None:
        return set()
    return {f"{served.lease_namespace}/{served.lease_name}"}


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(counted(numbers.get(kind, 0), kind) for kind in PLURALS)


def _each_thousand(say: Say) -> Callable[[int], None]:
    said = 0

    def progress(number: int) -> None:
        nonlocal said
        if number - said >= _SAY_EACH:
            said = number
            say(f"removed {number:,}")

    return progress
