"""What a run said of itself, as its page shows it."""

from __future__ import annotations

from piko.core.types import FINAL_STATES, RunState
from piko.store.reports.overview import RunReport
from piko.store.reports.run_logs import RunLogReport
from piko.web.views import links
from piko.web.views.runs import Fact
from piko.web.views.words import as_text, facts_in


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
    found = facts_in(None if said is None else said.result, otherwise="Result")
    return [Fact(name=name, text=as_text(value)) for name, value in found.items()]
