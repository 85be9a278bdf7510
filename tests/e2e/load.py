"""A job that is due each second, and the judgement of its due times over a disturbance."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.e2e.cluster import Cluster, StepError
from tests.e2e.due_times import judged
from tests.e2e.release import Release

EVERY = timedelta(seconds=1)
SETTLE_S = 10
"""After a disturbance, until its last due times have run."""
GREET = """
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: greet}
spec:
  jobId: greet
  schedule: {interval: {every: 1s}}
  misfireGrace: 10m
  coalesce: false
  history: {successful: 5000}
"""


class Load:
    """The job `greet`, which has to run whatever happens."""

    def __init__(self, cluster: Cluster, release: Release, *, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._release = release
        self._say = say

    def troubles_of(self, disturb: Callable[[], object], *, killed: bool = False) -> list[str]:
        """Disturb, wait until all is well again, and judge the due times from before to after."""
        begin = _whole_second() + EVERY
        time.sleep(3)
        disturb()
        self._release.wait_until_ready()
        time.sleep(SETTLE_S)
        end = _whole_second() - EVERY
        found: list[dict[str, object]] = []

        def all_ended() -> bool:
            found[:] = self._cluster.piko(
                "runs", "--job=greet", f"--since={begin.isoformat()}", "--limit=10000"
            )
            return not judged(found, begin=begin, end=end, every=EVERY).missed

        try:
            self._cluster.wait("every due time has run", all_ended)
        except StepError as error:
            self._say(str(error))
        judgement = judged(found, begin=begin, end=end, every=EVERY)
        self._say(str(judgement))
        for run in found:
            if run["state"] not in ("SUCCESS", "RUNNING", "QUEUED"):
                self._say(
                    f"{run['scheduled_time']} attempt {run['attempt']} is {run['state']}: {run['error']}"
                )
        return judgement.troubles(killed=killed)


def _whole_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
