"""Every version of Piko's resources that the API server has, from a watch of kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.cluster import Cluster
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper

_FORM = "{.metadata.uid} {.metadata.resourceVersion} {.metadata.generation}{'\\n'}"


class Versions:
    """What the watches have seen until now."""

    def __init__(self, watches: list[ChildProcess]) -> None:
        self._watches = watches

    def seen(self) -> list[tuple[str, str, int]]:
        """Uid, resource version and generation of each, in their order."""
        lines = [line.split() for watch in self._watches for line in watch.output.splitlines()]
        return [(line[0], line[1], int(line[2])) for line in lines]


@contextmanager
def watching_versions(cluster: Cluster) -> Iterator[Versions]:
    """Watch the schedules and configs of all namespaces; each resource that there is counts as seen first."""
    reaper = Reaper()
    with TemporaryDirectory(prefix="piko-day-watch-") as name:
        watches: list[ChildProcess] = []
        try:
            for kind in ("pikoschedules", "pikojobconfigs"):
                command = [
                    "kubectl", f"--kubeconfig={cluster.kubeconfig}", "get", kind,
                    "--all-namespaces", "--watch", f"--output=jsonpath={_FORM}",
                ]  # fmt: skip
                log = Path(name) / f"{kind}.log"
                watches.append(ChildProcess(command, name=f"watch of {kind}", log=log, reaper=reaper))
            for watch in watches:
                watch.wait_for_line(r"^\S+ \d+ \d+$")
            yield Versions(watches)
        finally:
            for watch in watches:
                watch.kill()
            reaper.close()
