"""The operator's metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class OperatorMetrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.resources = Gauge(
            "piko_operator_resources",
            "Resources whose condition is True; condition All counts every resource.",
            ["kind", "condition"],
            registry=registry,
        )
        self.rows = Counter(
            "piko_operator_mirror_rows", "Rows written.", ["table", "verb"], registry=registry
        )
        self.latency = Histogram(
            "piko_operator_mirror_latency_seconds",
            "Duration of one round of comparing and writing.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.drift = Counter(
            "piko_operator_drift",
            "Rows that were edited with SQL and restored.",
            ["table"],
            registry=registry,
        )
        self.orphans = Gauge(
            "piko_operator_orphans",
            "Rows whose resource has vanished: disabled, or held because they are too many.",
            ["state"],
            registry=registry,
        )
        self.namespaces_refused = Gauge(
            "piko_operator_namespaces_refused",
            "Namespaces to serve whose resources the operator may not list.",
            registry=registry,
        )
        self.admissions = Counter(
            "piko_operator_admissions",
            "Resources that the API server asked about before they were applied: allowed or refused.",
            ["answer"],
            registry=registry,
        )
        self.last_event = Gauge(
            "piko_operator_watch_last_event_timestamp_seconds",
            "When the watch last delivered an event.",
            registry=registry,
        )
        self.heartbeat = Gauge(
            "piko_operator_heartbeat_timestamp_seconds",
            "When it was last seen at work: its event loop turned, and its watches asked the API server.",
            registry=registry,
        )
        self.leads: Callable[[], bool] = lambda: False
        self.leader = Gauge(
            "piko_operator_leader_status",
            "Whether this replica acts: 1, or 0 on standby.",
            ["host"],
            registry=registry,
        )
        self.leader_transitions = Counter(
            "piko_operator_leader_transitions",
            "Changes of this replica's standing: standby, leader or suspended.",
            registry=registry,
        )
        self.lease_errors = Counter(
            "piko_operator_lease_errors", "Failed calls to the Kubernetes Lease.", registry=registry
        )
        self.db_errors = Counter(
            "piko_operator_db_errors",
            "Rounds that found the database unavailable.",
            ["part"],
            registry=registry,
        )
        self.part_restarts = Counter(
            "piko_operator_part_restarts",
            "Times that a part failed and was restarted.",
            ["part"],
            registry=registry,
        )
        self.http_connections_dropped = Counter(
            "piko_operator_http_connections_dropped",
            "Connections dropped because they were idle for too long, or to admit others.",
            ["why"],
            registry=registry,
        )
