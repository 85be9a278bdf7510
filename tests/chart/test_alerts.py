"""Each alert of the chart, by Prometheus' own checker: when it fires, when it ends, and when it is silent."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from piko.observability.metrics import Metrics
from piko_operator.metrics import OperatorMetrics
from tests.chart.rendering import CHART, EXISTING_SECRET, NAMESPACE, ROOT, render
from tests.harness.locate import find_promtool

_RULES = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
_ALERTS = [rule["alert"] for group in _RULES["groups"] for rule in group["rules"]]
_RUNBOOKS = (ROOT / "docs" / "how-to" / "answer-an-alert.md").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Case:
    """Series by name and labels, one value a minute, and how often the alert fires at some minutes."""

    alert: str
    series: Mapping[str, str]
    firing: Mapping[int, int]


_LEADS = {'piko_leader_status{pod="a"}': "1x40"}
CASES = {
    "a deadline passes and is moved on": Case(
        "PikoJobLate",
        {'piko_job_deadline_timestamp_seconds{pod="a",job_id="j",objective="data"}': "600x20 90000x20"},
        {9: 0, 15: 1, 25: 0},
    ),
    "a deadline passes while nothing leads": Case(
        "PikoJobLate",
        {
            'piko_job_deadline_timestamp_seconds{pod="b",job_id="j",objective="data"}': "600x40",
            'piko_leader_status{pod="b"}': "0x40",
        },
        {15: 1},
    ),
    "one replica has not read yet that the deadline was moved": Case(
        "PikoJobLate",
        {
            'piko_job_deadline_timestamp_seconds{pod="a",job_id="j",objective="data"}': "600x40",
            'piko_job_deadline_timestamp_seconds{pod="b",job_id="j",objective="data"}': "90000x40",
        },
        {15: 0},
    ),
    "three failures in a row, and a success": Case(
        "PikoJobFailing",
        {'piko_job_consecutive_failures{pod="a",job_id="j"}': "1x4 2x4 3x10 _x20"},
        {3: 0, 8: 0, 13: 1, 30: 0},
    ),
    "due times are missed once": Case(
        "PikoDueTimesMissed",
        {'piko_job_missed_total{pod="a",job_id="j",reason="misfire"}': "0x20 4x40"},
        {19: 0, 24: 1, 50: 0},
    ),
    "due times are missed as the first of a new leader": Case(
        "PikoDueTimesMissed",
        {'piko_job_missed_total{pod="a",job_id="j",reason="misfire"}': "_x20 4x40"},
        {19: 0, 24: 1, 50: 0},
    ),
    "a row is invalid for long": Case(
        "PikoRowsInvalid", {"piko_invalid_rows": "1x20 0x20"}, {5: 0, 15: 1, 25: 0}
    ),
    "a run waits for a slot, and then gets it": Case(
        "PikoQueueOld",
        {'piko_queue_oldest_timestamp_seconds{pod="a"}': "_x9 600x15 _x20", **_LEADS},
        {14: 0, 20: 1, 30: 0},
    ),
    "the leader dies and another takes over": Case(
        "PikoNoLeader",
        {'piko_leader_status{pod="a"}': "1x10 _x30", 'piko_leader_status{pod="b"}': "0x19 1x20"},
        {9: 0, 18: 1, 25: 0},
    ),
    "two lead for a moment, and then for long": Case(
        "PikoTwoLeaders",
        {**_LEADS, 'piko_leader_status{pod="b"}': "0x9 1x0 0x9 1x20"},
        {11: 0, 30: 1},
    ),
    "a replica is unready for a moment, and then for long": Case(
        "PikoReplicaUnready",
        {'piko_ready{pod="a"}': "1x50", 'piko_ready{pod="b"}': "1x4 0x5 1x9 0x15 1x20"},
        {9: 0, 32: 1, 45: 0},
    ),
    "the database is away, and comes back": Case(
        "PikoDatabaseAway",
        {
            'piko_reconcile_total{outcome="ok"}': "0+60x10 600x20 600+60x20",
            'piko_reconcile_total{outcome="failed"}': "0x10 0+60x20 1200x20",
        },
        {10: 0, 20: 1, 40: 0},
    ),
    "one read fails": Case(
        "PikoDatabaseAway",
        {
            'piko_reconcile_total{outcome="ok"}': "0+60x30",
            'piko_reconcile_total{outcome="failed"}': "0x10 1x20",
        },
        {12: 0},
    ),
    "a handler blocks the event loop": Case(
        "PikoEventLoopBlocked",
        {'piko_event_loop_blocked_seconds_total{pod="a",job_id="j"}': "0x9 5x9 5+10x9 95x30"},
        {12: 0, 27: 1, 45: 0},
    ),
    "a sink refuses a record": Case(
        "PikoDeadLetters",
        {'piko_persistence_dead_letter_total{pod="a",sink="s"}': "_x10 1x40"},
        {9: 0, 12: 1, 40: 0},
    ),
    "a sink is down, and comes back": Case(
        "PikoSinkStuck",
        {
            'piko_persistence_queue_size{pod="a",sink="s"}': "0x9 50x30 0x20",
            'piko_persistence_sink_failure_total{pod="a",sink="s"}': "0x9 1+1x30 31x20",
            'piko_persistence_intents_total{pod="a",sink="s",outcome="delivered"}': "0+9x9 81x30 81+9x20",
        },
        {15: 0, 35: 1, 45: 0},
    ),
    "a sink is slow": Case(
        "PikoSinkStuck",
        {
            'piko_persistence_queue_size{pod="a",sink="s"}': "50x60",
            'piko_persistence_sink_failure_total{pod="a",sink="s"}': "0+1x60",
            'piko_persistence_intents_total{pod="a",sink="s",outcome="delivered"}': "0+9x60",
        },
        {40: 0},
    ),
    "the webhook accepts nothing, and then all": Case(
        "PikoWebhookStuck",
        {'piko_webhook_oldest_timestamp_seconds{pod="a"}': "_x9 600x15 _x20", **_LEADS},
        {15: 0, 24: 1, 30: 0},
    ),
    "an announcement waits for the webhook for a moment": Case(
        "PikoWebhookStuck",
        {'piko_webhook_oldest_timestamp_seconds{pod="a"}': "_x9 600x5 _x20", **_LEADS},
        {14: 0, 25: 0},
    ),
    "an announcement is given up": Case(
        "PikoWebhookStuck",
        {'piko_webhook_posts_total{pod="a",called_for="late",outcome="given_up"}': "_x10 1x40"},
        {9: 0, 15: 1, 40: 0},
    ),
    "no operator acts": Case(
        "PikoOperatorDown",
        {'piko_operator_leader_status{pod="a"}': "1x10 _x15 1x20"},
        {9: 0, 24: 1, 30: 0},
    ),
    "the operator acts and asks for nothing, and is started again": Case(
        "PikoOperatorSilent",
        {
            'piko_operator_leader_status{pod="a"}': "1x40",
            'piko_operator_heartbeat_timestamp_seconds{pod="a"}': "0+60x10 600x10 1260+60x20",
            'piko_operator_leader_status{pod="b"}': "0x40",
            'piko_operator_heartbeat_timestamp_seconds{pod="b"}': "0x40",
        },
        {10: 0, 15: 1, 30: 0},
    ),
    "a resource is not mirrored": Case(
        "PikoResourcesNotSynced",
        {
            'piko_operator_leader_status{pod="a"}': "1x60",
            'piko_operator_resources{pod="a",kind="PikoSchedule",condition="All"}': "5x60",
            'piko_operator_resources{pod="a",kind="PikoSchedule",condition="Synced"}': "5x9 4x20 5x30",
        },
        {15: 0, 25: 1, 35: 0},
    ),
    "many resources vanish at once, and are applied again": Case(
        "PikoRowsHeld",
        {
            'piko_operator_leader_status{pod="a"}': "1x60",
            'piko_operator_orphans{pod="a",state="held"}': "0x9 40x20 0x30",
            'piko_operator_orphans{pod="a",state="disabled"}': "3x60",
        },
        {11: 0, 20: 1, 35: 0},
    ),
    "an operator on standby remembers rows that were held": Case(
        "PikoRowsHeld",
        {
            'piko_operator_leader_status{pod="a"}': "0x60",
            'piko_operator_orphans{pod="a",state="held"}': "40x60",
            'piko_operator_leader_status{pod="b"}': "1x60",
            'piko_operator_orphans{pod="b",state="held"}': "0x60",
        },
        {30: 0},
    ),
}


def _in_namespace(series: str) -> str:
    name, _, labels = series.partition("{")
    rest = f",{labels}" if labels else "}"
    return f'{name}{{namespace="{NAMESPACE}"{rest}'


def _promtool(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([find_promtool(), *arguments], input=stdin, capture_output=True, check=False)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    firing = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}}) or vector(0)'
    samples = [
        {"expr": firing, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": count}]}
        for minute, count in case.firing.items()
    ]
    _hold(case, tmp_path, promql_expr_test=samples)


def _hold(case: Case, folder: Path, **expected: list[dict[str, Any]]) -> None:
    """Have promtool compare what the rules make of the series with what is expected."""
    rules = (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8")
    (folder / "rules.yaml").write_text(rules.replace("PIKO_NAMESPACE", NAMESPACE), encoding="utf-8")
    series = [{"series": _in_namespace(name), "values": values} for name, values in case.series.items()]
    test = {"interval": "1m", "input_series": series, **expected}
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yaml").write_text(json.dumps(document), encoding="utf-8")
    outcome = _promtool("test", "rules", str(folder / "test.yaml"))
    assert outcome.returncode == 0, (outcome.stdout + outcome.stderr).decode()


def test_an_alert_of_rows_that_are_held_has_the_line_that_releases_them(tmp_path: Path) -> None:
    release = f"helm upgrade RELEASE CHART -n {NAMESPACE} --reuse-values --set operator.orphanLimit=40"
    said = {
        "summary": "40 rows have lost their resources at once, and run on",
        "description": "Apply the resources again; or, if they are not wanted any more, let the rows be "
        f"removed: {release}",
    }
    labels = {"namespace": NAMESPACE, "severity": "warning"}
    alert = {"exp_labels": labels, "exp_annotations": said}
    case = CASES["many resources vanish at once, and are applied again"]
    fires = {"eval_time": "20m", "alertname": "PikoRowsHeld", "exp_alerts": [alert]}
    _hold(case, tmp_path, alert_rule_test=[fires])


def test_every_alert_is_tried_and_has_a_runbook() -> None:
    assert {case.alert for case in CASES.values()} == set(_ALERTS)
    assert re.findall(r"^## (\S+)$", _RUNBOOKS, re.MULTILINE) == _ALERTS
    assert all(alert.startswith("Piko") for alert in _ALERTS)


def test_every_metric_of_an_alert_is_exported() -> None:
    text = json.dumps(_RULES)
    families = [*Metrics().registry.collect(), *OperatorMetrics().registry.collect()]
    exported = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert set(re.findall(r"\bpiko_\w+", text)) <= exported


@pytest.mark.parametrize("metrics", [Metrics, OperatorMetrics])
def test_promtool_has_nothing_to_say_of_the_metrics(metrics: type[Metrics | OperatorMetrics]) -> None:
    outcome = _promtool("check", "metrics", stdin=generate_latest(metrics().registry))
    assert (outcome.returncode, outcome.stdout + outcome.stderr) == (0, b"")


@pytest.mark.usefixtures("helm")
def test_the_chart_makes_a_rule_of_them_that_prometheus_reads(tmp_path: Path) -> None:
    rule = {"enabled": True, "labels": {"release": "p"}, "alertLabels": {"team": "data"}}
    [made] = render({**EXISTING_SECRET, "prometheusRule": rule}).all("PrometheusRule")
    assert made["metadata"]["labels"]["release"] == "p"
    rules = [each for group in made["spec"]["groups"] for each in group["rules"]]
    assert [each["alert"] for each in rules] == _ALERTS
    assert {each["labels"]["team"] for each in rules} == {"data"}
    assert all(each["annotations"]["runbook_url"].endswith(f"#{each['alert'].lower()}") for each in rules)
    assert "PIKO_NAMESPACE" not in json.dumps(made)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(made["spec"]), encoding="utf-8")
    outcome = _promtool("check", "rules", str(tmp_path / "rules.yaml"))
    assert outcome.returncode == 0, outcome.stderr.decode()
    without = render({**EXISTING_SECRET, "prometheusRule": rule, "operator": {"enabled": False}})
    [fewer] = without.all("PrometheusRule")
    assert "PikoOperator" not in json.dumps(fewer)
    assert render(EXISTING_SECRET).all("PrometheusRule") == []
