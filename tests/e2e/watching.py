"""A real Prometheus that watches a release through the API server, with the alerts of the chart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

from tests.e2e.cluster import COMPONENTS, Cluster, StepError
from tests.harness.alerts import AlertReadings, write_rules
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.prometheus import configured
from tests.harness.reaper import Reaper

_EVERY_S = 5


class Watch(AlertReadings):
    """What Prometheus has seen of the release since it began."""

    def value(self, expression: str) -> float | None:
        """The value of the first series, None without one."""
        series = self._server.query(expression)
        return float(series[0]["value"][1]) if series else None


@contextmanager
def watching(cluster: Cluster) -> Iterator[Watch]:
    """Watch the release by `kubectl proxy`, so that the trial needs nothing but the API server.

    Debian's Prometheus cannot discover pods itself; a thread writes down where they are.
    """
    reaper = Reaper()
    with TemporaryDirectory(prefix="piko-e2e-prometheus-") as name:
        folder = Path(name)
        port = free_port()
        proxy = ChildProcess(
            ["kubectl", f"--kubeconfig={cluster.kubeconfig}", "proxy", f"--port={port}"],
            name="kubectl proxy",
            log=folder / "proxy.log",
            reaper=reaper,
        )
        rules = write_rules(folder / "alerts.yaml", namespace=cluster.namespace)
        targets = folder / "targets.json"
        ended = Event()
        discovery = Thread(target=_discover, args=(cluster, f"127.0.0.1:{port}", targets, ended))
        scraping = {"job_name": "piko", "file_sd_configs": [{"files": [str(targets)]}]}
        try:
            proxy.wait_for_line("Starting to serve")
            discovery.start()
            with configured(
                [scraping], folder=folder, reaper=reaper, rules=[rules], every_s=_EVERY_S
            ) as server:
                yield Watch(server)
        finally:
            ended.set()
            if discovery.ident is not None:
                discovery.join()
            proxy.kill()
            reaper.close()


def _discover(cluster: Cluster, proxy: str, path: Path, ended: Event) -> None:
    """Keep in `path` where the pods of the release are, until `ended`; the last list where there is none."""
    while not ended.wait(_EVERY_S):
        with suppress(StepError):
            found = [_target(pod, proxy) for pod in cluster.found("pods", "-l", _serving(cluster))]
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(found), encoding="utf-8")
            fresh.rename(path)


def _serving(cluster: Cluster) -> str:
    components = ", ".join(COMPONENTS)
    return f"app.kubernetes.io/instance={cluster.release}, app.kubernetes.io/component in ({components})"


def _target(pod: dict[str, Any], proxy: str) -> dict[str, Any]:
    """With the labels that the chart's monitors give."""
    meta = pod["metadata"]
    component = meta["labels"]["app.kubernetes.io/component"]
    [port] = [
        each["containerPort"]
        for container in pod["spec"]["containers"]
        if container["name"] == component
        for each in container["ports"]
        if each["name"] == "http"
    ]
    where = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{port}/proxy/metrics"
    labels = {"namespace": meta["namespace"], "pod": meta["name"], "job": component}
    return {"targets": [proxy], "labels": {"__metrics_path__": where, **labels}}
