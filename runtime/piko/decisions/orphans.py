"""Runs in progress that nobody will end: their instance is dead, or they are its own no longer. Pure.

Silence is judged only by a leader that was in touch with the database itself all the while. An instance whose
session lock fell is no longer waited for, however recent its heartbeat. What this replica
is said to run and does not was begun under a leadership that it has lost, or by a COMMIT whose answer never
came: seen twice it is nobody's. (With `executor = "replicas"` the fetcher starts it instead.)

Of what was claimed ahead, a run is lost only where its instance may have begun it. Where the instance's start
mark says that it has not, and its leadership is over, so that the mark stays as it is, the run waits for its
time again, as the same attempt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from piko.model.instances import StartMark
from piko.model.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantage:
    """From where a leader judges the runs of others."""

    instance_id: str
    epoch: int
    leads_for_s: float
    """How long this replica has led under `epoch`."""
    lease_s: float
    may_judge_silence: bool
    """Whether every instance that lives has had the time to be heard of."""
    fetches: bool
    """Whether what is said to be this replica's is started by its fetcher."""
    dead: Collection[str] = ()
    """Instances that are presumed dead because their session lock fell."""


def unbegun(
    runs: Iterable[Run], marks: Mapping[str, StartMark], *, instance_id: str, epoch: int
) -> list[Run]:
    """Those of `runs` that were claimed ahead, and that their instances have not begun and cannot begin.

    - `marks`: the start marks of their instances.
    - `instance_id`, `epoch`: this replica, which leads; it has dropped what it claimed ahead under an earlier
      epoch, also where nobody led between.
    """
    found = []
    for run in runs:
        mark = marks.get(run.instance_id or "")
        dropped = run.instance_id == instance_id and (run.epoch or 0) < epoch
        if mark is not None and mark.excludes(run, dropped=dropped):
            found.append(run)
    return found


def orphans(
    runs: Iterable[Run], *, living: Mapping[str, int], seen_before: Collection[str], vantage: Vantage
) -> list[tuple[Run, str]]:
    """Those of `runs` that nobody will end, each with the reason.

    `runs` are in progress and not on this replica. `living`: the instances that are heard of, each with the
    epoch up to which its leadership was taken away. `seen_before`: ids of runs that the last look found, too.
    """
    found = ((run, _why(run, living, seen_before, vantage)) for run in runs)
    return [(run, why) for run, why in found if why is not None]


def _why(run: Run, living: Mapping[str, int], seen_before: Collection[str], vantage: Vantage) -> str | None:
    instance_id, begun_under = run.instance_id or "", run.epoch or 0
    if instance_id in vantage.dead:
        return f"its instance {instance_id} has crashed: its session lock fell, and it gave no sign of life"
    if instance_id not in living:
        return f"its instance {instance_id} has ended" if vantage.may_judge_silence else None
    taken_away = begun_under <= living[instance_id]
    if instance_id == vantage.instance_id:
        unknown = not vantage.fetches and (begun_under < vantage.epoch or run.run_id in seen_before)
        if taken_away or unknown:
            return "its instance began it under another leadership, and does not run it"
    # A deposed leader that lives learns of it when it renews, and then cancels what it runs.
    elif taken_away and vantage.leads_for_s >= vantage.lease_s:
        return f"its instance {instance_id} lost leadership and can no longer record it"
    return None
