"""`make day KUBECONFIG=…`: a day in the life of a release on a real cluster, with two hundred resources.

It is installed, and resources are applied by server-side apply; one takes a secret from a Secret, another is
paused by an annotation. Its pods are replaced, the API server is restarted, etcd compacted, the database
taken away for a minute. A namespace is deleted with resources in it; the other resources are lost and
restored; the release is uninstalled. After each step it says whether all is as promised.

Only the node's own programs can restart an API server and compact etcd: each is done by a command that you
give, and left out, which is said, where you give none.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.e2e.cluster import Cluster, StepError
from tests.e2e.day.beginnings import annotate, apply_by_server, hide_secrets, install
from tests.e2e.day.disturbances import (
    compact_etcd,
    restart_the_api_server,
    take_the_database_away,
    update,
)
from tests.e2e.day.endings import delete_a_namespace, restore, uninstall
from tests.e2e.day.place import Place
from tests.harness.locate import find_tool

Step = Callable[[Place], list[str]]


class Day:
    """The steps, in their order."""

    def __init__(self, cluster: Cluster, options: argparse.Namespace) -> None:
        self._options = options
        self._began = time.monotonic()
        self._place = Place.in_namespace(cluster, registry=options.registry, tag=options.tag, say=self.say)
        self.troubles: list[str] = []

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)

    def live(self) -> None:
        """Each step; what is not as promised is in `troubles`."""
        for name, step in self._steps():
            if self._options.only and name.replace(" ", "_") not in self._options.only:
                continue
            self.say(f"== {name}")
            if step is None:
                self.say("LEFT OUT: no command was given that does it")
                continue
            found = step(self._place)
            self.say(f"{len(found)} troubles" if found else "all as promised")
            self.troubles += [f"{name}: {trouble}" for trouble in found]

    def _steps(self) -> list[tuple[str, Step | None]]:
        api_server, etcd = self._options.api_server_restart, self._options.etcd_compaction
        return [
            ("install", install),
            ("apply by server", apply_by_server),
            ("hide secrets", hide_secrets),
            ("annotate", annotate),
            ("update", update),
            (
                "restart the API server",
                partial(restart_the_api_server, command=api_server) if api_server else None,
            ),
            ("compact etcd", partial(compact_etcd, command=etcd, restart=api_server) if etcd else None),
            ("take the database away", take_the_database_away),
            ("delete a namespace", delete_a_namespace),
            ("restore", restore),
            ("uninstall", uninstall),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.day", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", default="piko-day")
    parser.add_argument("--tag", default="0.1.0", help="tag of piko-runtime and piko-operator")
    parser.add_argument("--registry", default="", help="registry in front of both")
    parser.add_argument(
        "--api-server-restart", default="", metavar="COMMAND", help="stops the API server and starts it again"
    )
    parser.add_argument(
        "--etcd-compaction", default="", metavar="COMMAND", help="compacts etcd up to its present revision"
    )
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="STEP",
        help="these steps alone, with _ between words, of a day that goes on",
    )  # fmt: skip
    options = parser.parse_args()
    cluster = Cluster(kubeconfig=options.kubeconfig, namespace=options.namespace, helm=str(find_tool("helm")))
    day = Day(cluster, options)
    try:
        day.live()
    except StepError as error:
        day.troubles.append(str(error))
    for trouble in day.troubles:
        day.say(f"TROUBLE: {trouble}")
    day.say(f"{len(day.troubles)} troubles" if day.troubles else "all as promised")
    return 1 if day.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
