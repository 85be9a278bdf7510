"""Declared, in the row, in force: three states of a job, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.model.revisions import revision_in_force
from piko.store.reports.config_history import RevisionReport
from piko.store.reports.standing import JobStanding
from piko.tables import ago
from piko.web.views.words import Mark, Tone, owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A row of the comparison: what is declared and where, what the row holds, what is in force."""

    what: str
    declared: str
    look: str
    row: str
    in_force: str
    mark: Mark


_AGREES = Mark(text="Agree", tone=Tone.GOOD)


def stages(standing: JobStanding, revisions: Sequence[RevisionReport], now: datetime) -> list[Agreement]:
    """The schedule and the config of a job."""
    return [_schedule(standing, now), _config(standing, revisions, now)]


def _schedule(standing: JobStanding, now: datetime) -> Agreement:
    observed = standing.observed_version
    if observed is None:
        in_force, mark = "nothing yet", Mark(text="Not seen by a leader", tone=Tone.WARN)
    elif observed == standing.version:
        in_force, mark = f"version {observed}", _AGREES
    else:
        in_force, mark = f"version {observed}", Mark(text="Edit not taken up yet", tone=Tone.WARN)
    return Agreement(
        what="Schedule",
        declared=_declared("PikoSchedule", standing.managed_by),
        look=_look("pikoschedule", standing.managed_by),
        row=f"version {standing.version}, edited {ago(standing.updated_at, now)}",
        in_force=in_force,
        mark=mark,
    )


def _config(standing: JobStanding, revisions: Sequence[RevisionReport], now: datetime) -> Agreement:
    current = revision_in_force(revisions, now)
    in_force = "the code's defaults" if current is None else f"revision {current.revision}"
    if standing.config_version is None:
        row, mark = "none", _AGREES
        if current is not None:
            mark = Mark(text="The row was deleted", tone=Tone.WARN)
    else:
        row = f"version {standing.config_version}, edited {ago(standing.config_updated_at, now)}"
        mark = _config_mark(standing.config_version, revisions, current, now)
    return Agreement(
        what="Config",
        declared="none" if standing.config_version is None else _declared_config(standing),
        look=_look("pikojobconfig", standing.config_managed_by),
        row=row,
        in_force=in_force,
        mark=mark,
    )


def _config_mark(
    version: int, revisions: Sequence[RevisionReport], current: RevisionReport | None, now: datetime
) -> Mark:
    newest = revisions[-1] if revisions else None
    if newest is None:
        return Mark(text="Not seen by a leader", tone=Tone.WARN)
    if newest.error is not None:
        return Mark(text="The newest is invalid", tone=Tone.BAD)
    if newest is current:
        return _AGREES
    if newest.effective_from is not None and newest.effective_from > now:
        return Mark(text=f"Takes effect {ago(newest.effective_from, now)}", tone=Tone.BUSY)
    return Mark(text=f"Version {version} not taken up yet", tone=Tone.WARN)


def _declared_config(standing: JobStanding) -> str:
    return _declared("PikoJobConfig", standing.config_managed_by)


def _declared(kind: str, managed_by: str | None) -> str:
    return "by SQL, in the row" if managed_by is None else f"{kind} {owner(managed_by)}"


def _look(kind: str, managed_by: str | None) -> str:
    """The command that shows what the resource says."""
    if managed_by is None:
        return ""
    parts = managed_by.split("/")
    return f"kubectl get {kind} {parts[2]} -n {parts[1]} -o yaml" if len(parts) == 4 else ""
