"""The metrics of a runtime replica.

One `Metrics` belongs to one app and has a registry of its own, so that two apps in one process (or in one
test run) do not share counters. Timestamps rather than ages, base units, never a run id as a label.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from piko.observability.instants import Instants
from piko.observability.job_metrics import (
    JobCounter,
    JobDeadlines,
    JobHistogram,
    JobInstants,
    JobNumbers,
)

_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_DELAYS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_MANY_JOBS = 500
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Metrics:
    """Counters, gauges and histograms of one app."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.per_job: Literal["auto", "all", "summary"] = "auto"
        """The setting `metrics_per_job`."""
        self.leads: Callable[[], bool] = lambda: True
        """Whether this replica leads; metrics that only the leader knows are exported only then."""
        self.job_runs = JobCounter(
            "piko_job_run", "Finished runs.", label="status", detailed=self.is_detailed, registry=registry
        )
        self.job_duration = JobHistogram(
            "piko_job_duration_seconds", "From start to end of a handler.",
            buckets=_DURATIONS, detailed=self.is_detailed, registry=registry,
        )  # fmt: skip
        self.job_start_delay = JobHistogram(
            "piko_job_start_delay_seconds", "From the due time to the start of the handler.",
            buckets=_DELAYS, detailed=self.is_detailed, registry=registry,
        )  # fmt: skip
        self.job_last_success = self._job_instant("last_success", "When the last successful run ended.")
        self.job_last_run = self._job_instant("last_run", "When the last run started.")
        self.job_next_run = self._job_instant("next_run", "When the job is due next.")
        self.job_watermark = self._job_instant("watermark", "Watermark of a stateful job.")
        self.job_deadline = JobDeadlines(
            "piko_job_deadline_timestamp_seconds", "By when the job has to have kept its objective.",
            registry=registry,
        )  # fmt: skip
        self.job_failures = JobNumbers(
            "piko_job_consecutive_failures", "Runs since the last success that failed, of jobs that fail.",
            registry=registry,
        )  # fmt: skip
        self.job_missed = JobCounter(
            "piko_job_missed", "Due times that did not run although they should have.",
            label="reason", registry=registry,
        )  # fmt: skip
        self.job_skipped = JobCounter(
            "piko_job_skipped", "Due times left out because the schedule's row says so.",
            label="reason", registry=registry,
        )  # fmt: skip
        self.job_retries = JobCounter(
            "piko_job_retries", "Attempts that failed and are made again.", label="status", registry=registry
        )
        self.rows_refused = Counter(
            "piko_rows_refused", "Writes for a job that the database refused; the job is held back.",
            ["what"], registry=registry,
        )  # fmt: skip
        self.jobs_running = Gauge("piko_jobs_running", "Runs in progress on this replica.", registry=registry)
        self.jobs_running_limit = Gauge(
            "piko_jobs_running_limit", "Live runs that may be in progress on this replica at once.",
            registry=registry,
        )  # fmt: skip
        self.runs_queued = Gauge(
            "piko_runs_queued", "Runs that wait for a slot or for their time.", registry=registry
        )
        self.queue_oldest = Instants(
            "piko_queue_oldest_timestamp_seconds",
            "Since when the oldest live run waits that only needs a slot or a replica.",
            leads=lambda: self.leads(),
            registry=registry,
        )
        self.backfill_windows = Gauge(
            "piko_backfill_windows", "Windows of the backfills that are open.", ["state"], registry=registry
        )
        self.claim_horizon = Gauge(
            "piko_claim_horizon_seconds", "How long before its due time a run is claimed.", registry=registry
        )
        self.loop_blocked = Counter(
            "piko_event_loop_blocked", "Times that a handler blocked the event loop.", ["job_id"],
            registry=registry,
        )  # fmt: skip
        self.loop_blocked_seconds = Counter(
            "piko_event_loop_blocked_seconds",
            "Seconds that the event loop was blocked.",
            ["job_id"],
            registry=registry,
        )
        self.handlers_abandoned = Counter(
            "piko_handlers_abandoned", "Handlers that continued after they were cancelled.", ["job_id"],
            registry=registry,
        )  # fmt: skip
        self.handler_thread_calls = Gauge(
            "piko_handler_thread_calls", "Calls from handlers that run in a thread or wait for one.",
            registry=registry,
        )  # fmt: skip
        self.http_connections_dropped = Counter(
            "piko_http_connections_dropped",
            "Connections dropped because they were idle for too long, or to admit others.",
            ["why"],
            registry=registry,
        )
        self.outcomes_pending = Gauge(
            "piko_outcomes_pending", "Outcomes not yet written to the database.", registry=registry
        )
        self.outcomes_spooled = Counter(
            "piko_outcomes_spooled",
            "Outcomes put on disk while the database was unavailable.",
            registry=registry,
        )
        self.outcomes_recovered = Counter(
            "piko_outcomes_recovered", "Outcomes that an earlier process left on disk.", ["how"],
            registry=registry,
        )  # fmt: skip
        self.outcome_spool_errors = Counter(
            "piko_outcome_spool_errors", "Failures to write outcomes to disk, or to read them.",
            registry=registry,
        )  # fmt: skip
        self.runs_pruned = Counter(
            "piko_runs_pruned", "Rows of job_run deleted by retention.", registry=registry
        )
        self.locks_pruned = Counter(
            "piko_locks_pruned", "Rows of job_lock deleted by retention.", registry=registry
        )
        self.reconciles = Counter(
            "piko_reconcile", "Comparisons of rows with the catalog.", ["outcome"], registry=registry
        )
        self.rows_read = Gauge(
            "piko_rows_read_timestamp_seconds", "When the rows were last compared.", registry=registry
        )
        self.reconcile_duration = Histogram(
            "piko_reconcile_duration_seconds", "How long a comparison took.",
            buckets=_DELAYS, registry=registry,
        )  # fmt: skip
        self.invalid_rows = Gauge("piko_invalid_rows", "Rows that cannot be scheduled.", registry=registry)
        self.invalid_configs = Gauge(
            "piko_invalid_configs",
            "Jobs whose row in job_config does not fit their model.",
            registry=registry,
        )
        self.ready = Gauge(
            "piko_ready", "1 if this replica can do its part, as /readyz says, else 0.", registry=registry
        )
        self.leader = Gauge(
            "piko_leader_status", "1 if this replica leads, else 0.", ["host"], registry=registry
        )
        self.jobs_held = Gauge(
            "piko_jobs_held", "Jobs left out because an open transaction holds their rows.", ["writer"],
            registry=registry,
        )  # fmt: skip
        self.clock_offset = Gauge(
            "piko_clock_offset_seconds", "Seconds by which this machine's clock is ahead of the database's.",
            registry=registry,
        )  # fmt: skip
        self.lease_errors = Counter(
            "piko_lease_errors", "Failed calls to the Kubernetes Lease.", registry=registry
        )
        self.leader_transitions = Counter(
            "piko_leader_transitions",
            "Times that this replica became leader or stopped leading.",
            registry=registry,
        )
        self.session_lock_held = Gauge(
            "piko_session_lock_held",
            "1 if this replica holds its session lock, so that its crash would be seen at once; else 0.",
            registry=registry,
        )
        self.crashes_seen = Counter(
            "piko_crashes_seen",
            "Replicas that this one presumed dead because their session lock fell.",
            registry=registry,
        )
        self.spool_persistent = Gauge(
            "piko_spool_persistent",
            "0 if what waits in the spool is lost with its pod or machine, else 1.",
            registry=registry,
        )
        self.persistence_queue = Gauge(
            "piko_persistence_queue_size", "Write intents that are neither delivered nor dead yet.", ["sink"],
            registry=registry,
        )  # fmt: skip
        self.persistence_oldest = Instants(
            "piko_persistence_oldest_timestamp_seconds",
            "When the oldest write intent that waits on disk was put there.",
            label="sink", registry=registry,
        )  # fmt: skip
        self.persistence_memory = Gauge(
            "piko_persistence_memory_size", "Write intents that wait only in memory.", ["sink"],
            registry=registry,
        )  # fmt: skip
        self.persistence_memory_limit = Gauge(
            "piko_persistence_memory_limit",
            "Write intents that may wait only in memory; at this number a handler that writes waits.",
            ["sink"],
            registry=registry,
        )
        self.persistence_intents = Counter(
            "piko_persistence_intents", "Write intents accepted and delivered.", ["sink", "outcome"],
            registry=registry,
        )  # fmt: skip
        self.persistence_batch_size = Histogram(
            "piko_persistence_batch_size", "Write intents in a batch.", ["sink"],
            buckets=_BATCHES, registry=registry,
        )  # fmt: skip
        self.persistence_sink_failures = self._of_sink("sink_failure", "Batches that a sink did not accept.")
        self.persistence_spilled = self._of_sink("spilled", "Write intents moved from memory to the spool.")
        self.persistence_recovered = self._of_sink(
            "recovered", "Write intents found in the spool at start-up."
        )
        self.cpu_workers = Gauge("piko_cpu_workers", "Worker processes of this replica.", registry=registry)
        self.cpu_busy = Gauge("piko_cpu_workers_busy", "Chunks being computed.", registry=registry)
        self.cpu_items = Counter("piko_cpu_items", "Items computed.", ["outcome"], registry=registry)
        self.cpu_workers_lost = Counter(
            "piko_cpu_workers_lost",
            "Workers that died or were killed while busy.",
            ["reason"],
            registry=registry,
        )
        self.persistence_dead_letters = self._of_sink("dead_letter", "Write intents that a sink refused.")
        self.db_errors = Counter(
            "piko_db_errors", "Failed calls to the database.", ["part"], registry=registry
        )
        self.db_connections = Gauge(
            "piko_db_connections", "Connections to the database that are in use.", ["pool"], registry=registry
        )
        self.db_connections_limit = Gauge(
            "piko_db_connections_limit", "Connections to the database that may be in use at once.", ["pool"],
            registry=registry,
        )  # fmt: skip
        self.hook_calls = Counter(
            "piko_hook_calls", "Calls of hooks.", ["called_for", "outcome"], registry=registry
        )
        self.webhook_posts = Counter(
            "piko_webhook_posts",
            "Announcements that the webhook accepted, tries that failed, and announcements given up.",
            ["called_for", "outcome"],
            registry=registry,
        )
        self.webhook_oldest = Instants(
            "piko_webhook_oldest_timestamp_seconds",
            "When the oldest announcement was queued that waits for the webhook.",
            leads=lambda: self.leads(), registry=registry,
        )  # fmt: skip
        self.part_restarts = Counter(
            "piko_part_restarts", "Times that a part failed and was restarted.", ["part"], registry=registry
        )
        Info("piko_build", "Version of Piko and of Python.", registry=registry).info(
            {"version": version("piko"), "python": platform.python_version()}
        )

    def is_detailed(self) -> bool:
        """Whether histograms are exported by job: two of them are forty series a job."""
        if self.per_job == "auto":
            return max(self.job_duration.jobs, self.job_start_delay.jobs) < _MANY_JOBS
        return self.per_job == "all"

    def _job_instant(self, what: str, text: str) -> JobInstants:
        return JobInstants(
            f"piko_job_{what}_timestamp_seconds", text, leads=lambda: self.leads(), registry=self.registry
        )

    def _of_sink(self, what: str, text: str) -> Counter:
        return Counter(f"piko_persistence_{what}", text, ["sink"], registry=self.registry)

    def forget_job(self, job_id: str) -> None:
        """Drop the gauges of a job whose row was deleted, so that no alert watches a deleted job."""
        for gauge in (self.job_last_success, self.job_last_run, self.job_next_run, self.job_watermark):
            gauge.remove(job_id)

    def forget_jobs(self) -> None:
        """Drop all gauges of jobs, because this replica no longer leads and the next leader exports them."""
        for gauge in (self.job_last_success, self.job_last_run, self.job_next_run, self.job_watermark):
            gauge.clear()
        self.runs_queued.set(0)
        self.queue_oldest.replace({})
        self.backfill_windows.clear()
