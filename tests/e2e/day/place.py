"""Where a day is lived: the cluster, its namespaces, the release and its database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.e2e.cluster import Cluster
from tests.e2e.database import TrialDatabase
from tests.e2e.day.conditions import DayResources
from tests.e2e.day.requests import Counts, conflicts, requests_now
from tests.e2e.day.resources import STAYING_JOBS, job
from tests.e2e.load import Load
from tests.e2e.release import Release

CHANGED_JOBS = STAYING_JOBS[:20]
"""Those whose schedules are edited in and after a disturbance."""
FEW_CONFLICTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The release is in the namespace of `cluster`; `staying` and `leaving` hold the resources of the day."""

    cluster: Cluster
    release: Release
    load: Load
    database: TrialDatabase
    resources: DayResources
    staying: Cluster
    leaving: Cluster
    tag: str
    say: Callable[[str], None]

    @classmethod
    def in_namespace(cls, cluster: Cluster, *, registry: str, tag: str, say: Callable[[str], None]) -> Place:
        """With two more namespaces, which have its name and a word more."""
        staying, leaving = (
            replace(cluster, namespace=f"{cluster.namespace}-{name}") for name in ("staying", "leaving")
        )
        release = Release(cluster, registry=registry)
        return cls(
            cluster=cluster,
            release=release,
            load=Load(cluster, release, say=say),
            database=TrialDatabase(cluster),
            resources=DayResources(cluster, [staying.namespace, leaving.namespace], say=say),
            staying=staying,
            leaving=leaving,
            tag=tag,
            say=say,
        )

    def edit_schedules(self, priority: int) -> None:
        """Give twenty schedules another priority."""
        names = [job(number) for number in CHANGED_JOBS]
        patch = json.dumps({"spec": {"priority": priority}})
        self.staying.kubectl("patch", "psch", *names, "--type=merge", "-p", patch)

    def follow_edit(self, priority: int) -> None:
        """Wait until the rows of those schedules have it. Raises `StepError`."""
        begin, count = time.monotonic(), f"SELECT COUNT(*) FROM scheduled_job WHERE priority = {priority}"
        wanted = len(CHANGED_JOBS)
        self.cluster.wait("the rows follow", lambda: int(self.database.sql(count)) == wanted)
        self.say(f"an edit of {wanted} schedules is in their rows after {time.monotonic() - begin:.1f} s")

    def too_many_conflicts(self, before: Counts) -> list[str]:
        """Says how often a write was refused since `before`, and whether that is a storm."""
        found = conflicts(requests_now(self.cluster) - before)
        self.say(f"{found} writes of resources were refused with 409")
        return [f"{found} writes of resources were refused with 409"] if found > FEW_CONFLICTS else []
