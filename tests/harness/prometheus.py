"""A real Prometheus that scrapes what a test names, and answers its queries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.harness.locate import find_prometheus
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper
from tests.harness.waiting import ANSWER_S, wait_until

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that runs."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that `expression` has now. Raises `AssertionError` if it cannot be evaluated."""
        answer = httpx.get(
            f"{self.url}/api/v1/query", params={"query": expression}, timeout=ANSWER_S, trust_env=False
        )
        document = answer.json()
        assert document["status"] == "success", f"{expression}: {document['error']}"
        found: list[dict[str, Any]] = document["data"]["result"]
        return found


@contextmanager
def prometheus(
    targets: Mapping[int, Labels], *, folder: Path, reaper: Reaper, rules: Sequence[Path] = ()
) -> Iterator[Prometheus]:
    """Scrapes `/metrics` at these ports of loopback, and evaluates the files of `rules`.

    Each target's series get its labels.
    """
    scraping = {
        "job_name": "piko",
        "static_configs": [
            {"targets": [f"127.0.0.1:{target}"], "labels": dict(labels)} for target, labels in targets.items()
        ],
    }
    with configured([scraping], folder=folder, reaper=reaper, rules=rules) as running:
        yield running


@contextmanager
def configured(
    scrapings: Sequence[Mapping[str, Any]],
    *,
    folder: Path,
    reaper: Reaper,
    rules: Sequence[Path] = (),
    every_s: int = 1,
) -> Iterator[Prometheus]:
    """Scrapes as `scrapings` say, in Prometheus' own form, and evaluates the files of `rules`."""
    port = free_port()
    every = f"{every_s}s"
    configuration = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": list(scrapings),
        "rule_files": [str(path) for path in rules],
    }
    (folder / "prometheus.json").write_text(json.dumps(configuration), encoding="utf-8")  # JSON is YAML
    process = ChildProcess(
        [
            find_prometheus(),
            f"--config.file={folder / 'prometheus.json'}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        name="prometheus",
        log=folder / "prometheus.log",
        reaper=reaper,
        cwd=folder,
    )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.running, f"Prometheus ended with {process.returncode}:\n{process.tail()}"
        try:
            return httpx.get(f"{url}/-/ready", timeout=ANSWER_S, trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(ready, what=f"Prometheus to be ready, log {process.log}")
        yield Prometheus(url=url)
    finally:
        process.kill()
