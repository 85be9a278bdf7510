"""What the facts of an installation mean: one sentence for each trouble, and what cures it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.model.troubles import ReportedTrouble
from piko.store.reports.attention import HEARD, Facts
from piko.store.reports.jobs import JobCounts
from piko.store.reports.replicas import LeaseReport, OperatorReport, ReplicaReport, ServerReport
from piko.store.reports.runs import RunCounts
from piko.store.reports.runs_in_need import RunName
from piko.store.reports.trouble import Trouble
from piko.text import span


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationReport:
    """The whole installation, and its troubles; `well` if there are none, here and on a next page."""

    well: bool
    now: datetime
    server: ServerReport
    leaders: Sequence[LeaseReport]
    replicas: Sequence[ReplicaReport]
    jobs: JobCounts
    runs: RunCounts
    troubles: Sequence[Trouble]
    next: str | None = None
    """`cursor` of the page with further troubles, where the answer comes in pages; None: this is the last."""


def report(facts: Facts, *, next_page: str | None = None) -> InstallationReport:
    """What `facts` say and mean; `next_page` is the cursor of what comes after them."""
    found = troubles(facts)
    return InstallationReport(
        well=not found and facts.next is None,
        now=facts.now,
        server=facts.server,
        leaders=facts.leaders,
        replicas=facts.replicas,
        jobs=facts.jobs,
        runs=facts.runs,
        troubles=found,
        next=next_page,
    )


def troubles(facts: Facts) -> list[Trouble]:
    """Every trouble, what concerns more than one job first."""
    found: list[Trouble] = []
    if facts.first:
        found += leaderless(facts.leaders)
        found += _of_replicas(facts.replicas, facts.left)
        found += _of_operators(facts.server.operators)
    return [*found, *facts.of_jobs]


def leaderless(leases: Sequence[LeaseReport]) -> list[Trouble]:
    """What is wrong with leadership: a concern for each lease that nobody holds, one if there is none."""
    remedy = (
        "piko dev in the job's folder or piko run MODULE:APP starts a replica, kubectl scale does in a "
        "cluster; /readyz of those that run says why they do not lead"
    )
    if not leases:
        return [Trouble(kind="no_leader", subject="leader", text="no replica has led yet", remedy=remedy)]
    return [
        Trouble(
            kind="no_leader",
            subject=f"leader {lease.name!r}",
            text="the last leader released its lease, and no replica has taken it"
            if lease.holder is None
            else f"the lease of {lease.holder_host or lease.holder} expired, and no replica has taken it",
            remedy=remedy,
            since=lease.renewed_at if lease.holder is None else lease.expires_at,
        )
        for lease in leases
        if not lease.leads
    ]


def _of_replicas(replicas: Sequence[ReplicaReport], left: Mapping[str, Sequence[RunName]]) -> list[Trouble]:
    found = []
    for replica in replicas:
        if replica.silent:
            found.append(_of_silent(replica, left.get(replica.instance_id, ())))
        elif replica.stopped_at is None:
            found += [_reported(item, replica.host) for item in replica.troubles]
    return found


def _of_silent(replica: ReplicaReport, runs: Sequence[RunName]) -> Trouble:
    """A replica that was killed says nothing either; then others take its runs.

    No row says whether its host is a pod, and none that its process has ended: another on the same host may
    run beside it.
    """
    text = "it sends no heartbeats: it was killed, cannot reach the database, or its event loop is blocked"
    remedy = (
        "its log says which (`event_loop_blocked` names the job); in a cluster: "
        f"kubectl delete pod {replica.host}; on a machine: end process {replica.pid} if it is there, and "
        f"start the replica again; it is listed for {span(HEARD.total_seconds())} after its last heartbeat"
    )
    if runs:
        text += f"; in progress there: {', '.join(f'{run.job_id} ({run.run_id})' for run in runs)}"
        remedy += f"; piko pause {runs[0].job_id} if it blocks"
    return Trouble(
        kind="silent_replica",
        subject=f"replica {replica.host}",
        text=text,
        remedy=remedy,
        since=replica.heartbeat_at,
    )


def _reported(trouble: ReportedTrouble, host: str) -> Trouble:
    """What a replica on `host` says of itself."""
    of_job = trouble.kind == "blocked_loop" and not trouble.subject.startswith("replica ")
    sink = shlex.quote(trouble.subject.removeprefix("sink "))
    remedies = {
        "not_ready": "it is ready again by itself once the reason has ended; its log has more",
        "sink_stuck": "repair what the sink writes to; what waits is kept and delivered then "
        "(piko spool list says how much)",
        "dead_letters": f"piko spool list --sink {sink} shows each with its error; repair the sink, then "
        f"piko spool replay --sink {sink}, or drop",
        "blocked_loop": "let it await, or use asyncio.to_thread or app.cpu_manager"
        + (f"; until then: piko pause {trouble.subject}" if of_job else ""),
    }
    return Trouble(
        kind=trouble.kind,
        subject=trouble.subject or f"replica {host}",
        text=trouble.text if trouble.kind == "not_ready" else f"{trouble.text} (on {host})",
        remedy=remedies.get(trouble.kind, f"see the log of {host}"),
        since=trouble.since,
        job_id=trouble.subject if of_job else None,
    )


def _of_operators(operators: Sequence[OperatorReport]) -> list[Trouble]:
    found = []
    for operator in operators:
        if operator.silent:
            found.append(
                Trouble(
                    kind="silent_operator",
                    subject=f"operator of {operator.cluster}",
                    text="it sends no heartbeats: changed resources do not reach the database",
                    remedy="kubectl get pods -A -l app.kubernetes.io/component=operator; its log says why",
                    since=operator.heartbeat_at,
                )
            )
        found += [_of_resource(item, operator.cluster) for item in operator.troubles]
    return found


def _of_resource(trouble: ReportedTrouble, cluster: str) -> Trouble:
    """What the operator says of a namespace, or of a resource, whose name is its kind, namespace and name."""
    kind, _, place = trouble.subject.partition(" ")
    namespace, _, name = place.partition("/")
    resource = f"{kind.lower()} {name} -n {namespace}"
    remedy = f"kubectl describe {resource}"
    if trouble.kind == "not_listed":
        remedy = (
            "create the namespace and the operator's Role in it (helm upgrade does), or take it out of "
            "operator.namespaces; the others are served"
        )
    if trouble.kind == "drift":
        enforce = '{"spec":{"driftPolicy":"Enforce"}}'
        remedy = f"kubectl patch {resource} --type merge -p '{enforce}' puts the row back"
    return Trouble(
        kind=trouble.kind,
        subject=trouble.subject,
        text=f"{trouble.text} (cluster {cluster})",
        remedy=remedy,
        since=trouble.since,
    )
