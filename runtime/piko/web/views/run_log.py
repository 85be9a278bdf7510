"""What a run said of itself, as its page shows it."""

from __future__ import annotations

import json

from piko.core.types import FINAL_STATES, RunState
from piko.store.reports.overview import RunReport
from piko.store.reports.run_logs import RunLogReport
from piko.web.views import links
from piko.web.views.runs import Fact


def text(said: RunLogReport) -> str:
    """The lines that are kept, each with its end."""
    return "".join(f"{line}\n" for line in said.lines())


def follow(run: RunReport, said: RunLogReport | None) -> str | None:
    """Where further lines come from; None: the run has ended, and no more come."""
    if RunState(run.state) in FINAL_STATES:
        return None
    return links.run_log(run.run_id, after=0 if said is None else said.line_count)


def result(said: RunLogReport | None) -> list[Fact]:
    """What the handler returned or recorded, a fact for each of its keys."""
    if said is None or said.result is None:
        return []
    try:
        found = json.loads(said.result)
    except ValueError:
        return [Fact(name="Result", text=said.result)]
    if not isinstance(found, dict):
        return [Fact(name="Result", text=said.result)]
    return [Fact(name=key, text=_shown(value)) for key, value in found.items()]


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
