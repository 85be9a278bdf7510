"""What happens to a release in a day, and must not matter: its own update, and outages around it."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections import Counter
from typing import Any

from tests.e2e.cluster import COMPONENTS, StepError
from tests.e2e.day.conditions import name_of, not_healthy, status_of, summary
from tests.e2e.day.place import CHANGED_JOBS, Place
from tests.e2e.day.requests import Counts, requests_now, status_patches, writes_between
from tests.e2e.day.resources import CONFIG_KEY, JOBS, job, values
from tests.e2e.day.versions import watching_versions

_AWAY_S = 60
_SETTLE_S = 15
_COMMAND_S = 300


def update(place: Place) -> list[str]:
    """Each pod of operator, runtime and web is replaced; schedules are edited right after."""
    further = values(CONFIG_KEY)
    for component in COMPONENTS:
        further.setdefault(component, {})["podAnnotations"] = {"day": "updated"}
    before = requests_now(place.cluster)
    troubles = place.load.troubles_of(lambda: place.release.upgrade(tag=place.tag, further=further))
    patches = status_patches(requests_now(place.cluster) - before)
    place.say(f"{patches} patches of status in it")
    place.edit_schedules(1)
    place.follow_edit(1)
    place.resources.wait_until_ready(2 * JOBS)
    return troubles + place.too_many_conflicts(before) + _storm(patches)


def restart_the_api_server(place: Place, command: str) -> list[str]:
    """Runs `command`, which stops and starts it; what the operator does afterwards is no more than before."""
    containers = place.release.containers()
    troubles = place.load.troubles_of(lambda: _run(command))
    return troubles + _afterwards(place, containers, since=Counter(), priority=2)


def compact_etcd(place: Place, command: str, restart: str) -> list[str]:
    """Runs `command`, which compacts etcd.

    With `restart` the API server is restarted after it, so that no watch can go on from where it was.
    """
    containers = place.release.containers()
    before: Counts = Counter() if restart else requests_now(place.cluster)

    def disturb() -> None:
        _run(command)
        if restart:
            _run(restart)

    begin = time.time()
    troubles = place.load.troubles_of(disturb)
    since = f"--since={int(time.time() - begin) + 1}s"
    chosen = f"-l=app.kubernetes.io/instance={place.cluster.release},app.kubernetes.io/component=operator"
    log = place.cluster.kubectl("logs", chosen, since, "--tail=-1")
    place.say(
        f"{log.count('watch_listed_again')} watches could not go on from where they were and listed again; "
        f"{log.count('operator_on_standby')} times an operator lost its Lease, and began afresh with the next"
    )
    return troubles + _afterwards(place, containers, since=before, priority=3)


def take_the_database_away(place: Place) -> list[str]:
    """For a minute, in which schedules are edited; nothing turns False, and nothing is written twice."""
    with watching_versions(place.cluster) as versions:
        before = place.resources.all()
        edited = {job(number) for number in CHANGED_JOBS}
        troubles: list[str] = []

        def disturb() -> None:
            place.database.take_away()
            begin = time.monotonic()
            place.edit_schedules(4)
            place.cluster.wait(
                "each edited schedule says that nothing is known",
                lambda: _unknown(place, edited) == len(edited),
            )
            place.say(f"{len(edited)} edited schedules are Unknown after {time.monotonic() - begin:.1f} s")
            time.sleep(max(0.0, begin + _AWAY_S - time.monotonic()))
            troubles.extend(_in_the_outage(place, before, edited, writes_between(before, versions.seen())))
            place.database.give_back()

        troubles = place.load.troubles_of(disturb) + troubles
        place.follow_edit(4)
        place.resources.wait_until_ready(2 * JOBS)
        _say_writes(place, "to its end", before, edited, writes_between(before, versions.seen()))
    return troubles


def _unknown(place: Place, edited: set[str]) -> int:
    return sum(
        status_of(each, "Synced") == "Unknown"
        for each in place.resources.all()
        if each["kind"] == "PikoSchedule" and each["metadata"]["name"] in edited
    )


def _in_the_outage(
    place: Place, before: list[dict[str, Any]], edited: set[str], writes: Counter[str]
) -> list[str]:
    now = place.resources.all()
    place.say(f"in the outage, Synced: {summary(now, 'Synced')}; Ready: {summary(now, 'Ready')}")
    troubles = [f"in the outage: {line}" for line in not_healthy(now)]
    _say_writes(place, "in the outage", before, edited, writes)
    often = {name_of(each): writes[each["metadata"]["uid"]] for each in before}
    troubles += [
        f"{name} was written {count} times in the outage" for name, count in often.items() if count > 1
    ]
    return troubles


def _say_writes(
    place: Place, when: str, before: list[dict[str, Any]], edited: set[str], writes: Counter[str]
) -> None:
    for what, chosen in (("edited schedules", True), ("other resources", False)):
        counts = Counter(
            writes[each["metadata"]["uid"]]
            for each in before
            if (each["kind"] == "PikoSchedule" and each["metadata"]["name"] in edited) is chosen
        )
        found = ", ".join(f"{number} with {count}" for count, number in sorted(counts.items()))
        place.say(f"writes of {what} {when}: {found}")


def _afterwards(place: Place, containers: set[tuple[str, int]], *, since: Counts, priority: int) -> list[str]:
    """The operator goes on: it patches nothing without a reason, and changes are applied.

    - `since`: what the API server had counted before; it begins at its start.
    """
    time.sleep(_SETTLE_S)
    patches = status_patches(requests_now(place.cluster) - since)
    place.say(f"{patches} patches of status in it and {_SETTLE_S} s after it")
    troubles = _storm(patches)
    place.edit_schedules(priority)
    place.follow_edit(priority)
    place.resources.wait_until_ready(2 * JOBS)
    restarted = containers - place.release.containers()
    place.say(f"{len(restarted)} containers were restarted")
    if restarted:
        troubles.append(f"{len(restarted)} containers were restarted")
    return troubles + place.too_many_conflicts(since)


def _storm(patches: int) -> list[str]:
    return [f"{patches} patches of status: a storm"] if patches > JOBS else []


def _run(command: str) -> None:
    outcome = subprocess.run(
        shlex.split(command), capture_output=True, text=True, check=False, timeout=_COMMAND_S
    )
    if outcome.returncode:
        raise StepError(f"{command}: exit {outcome.returncode}: {outcome.stderr.strip()[-2000:]}")
