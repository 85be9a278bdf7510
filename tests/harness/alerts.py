"""The alerts of the chart in a real Prometheus: which of them fire, and which have."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness.prometheus import Prometheus

_RULES = Path(__file__).parents[2] / "helm" / "piko" / "files" / "alerts.yaml"
_FIRING = 'ALERTS{alertstate="firing"}'

# Bounds in seconds, for which a test cannot wait, and shorter ones. A watch asks again every 30 s.
_BOUNDS = {"> 600": "> 8", "> 300": "> 8", "> 120": "> 45", "> 30": "> 1"}


class AlertReadings:
    """What a Prometheus says of the alerts that it evaluates, each as `name` or `name of job`."""

    def __init__(self, server: Prometheus) -> None:
        self._server = server

    def firing(self) -> set[str]:
        """Those that fire now."""
        return {_named(series["metric"]) for series in self._server.query(_FIRING)}

    def fired(self) -> set[str]:
        """Those that have fired at any time."""
        found = self._server.query(f"count by (alertname, job_id) (max_over_time({_FIRING}[6h]))")
        return {_named(series["metric"]) for series in found}


def write_rules(path: Path, *, namespace: str, minute_s: int = 60) -> Path:
    """Write the chart's rules for a release in `namespace` to `path`, and return it.

    `minute_s`: the seconds that a minute in them lasts. Less than 60 also shortens their bounds in seconds.
    """
    rules = _RULES.read_text(encoding="utf-8").replace("PIKO_NAMESPACE", namespace)
    if minute_s != 60:
        rules = re.sub(r"\b(\d+)m\b", lambda found: f"{int(found[1]) * minute_s}s", rules)
        for bound, shorter in _BOUNDS.items():
            assert bound in rules, f"no rule has the bound {bound!r}"
            rules = rules.replace(bound, shorter)
    path.write_text(rules, encoding="utf-8")
    return path


def _named(labels: dict[str, str]) -> str:
    return f"{labels['alertname']} of {labels['job_id']}" if "job_id" in labels else labels["alertname"]
