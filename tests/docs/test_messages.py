"""Each message that a person meets is on the page of messages, and what is on the page is in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from piko.store.reports.explanations import ReasonKind
from tests.docs import messages
from tests.docs.messages import GAP
from tests.docs.pages import read

_PAGE = read("how-to/troubleshoot-by-message.md")
_LINES = "Lines in a log"
_RUNS = "Why a run did not run"
_CONDITIONS = "Reasons of conditions"
_PROBES = "What `/readyz` and `/healthz` say"
_ERRORS = "Errors of commands, settings and the API"


def _rows(heading: str) -> Iterator[list[str]]:
    """The cells of each row of the tables below a heading."""
    [part] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL)
    for line in part.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if (
            cells
            and not set(cells[0]) <= {"-"}
            and not cells[0].startswith(("line", "kind", "reason", "text"))
        ):
            yield cells


def _named(heading: str, column: int = 0) -> list[str]:
    return [name for row in _rows(heading) for name in re.findall(r"`([^`]+)`", row[column])]


def _occurs(phrase: str, text: str) -> bool:
    """Whether the parts of a phrase come one after the other in one line of a text."""
    return re.search(".*".join(map(re.escape, phrase.split(GAP))), text) is not None


def test_every_line_of_a_log_that_warns_is_explained_once() -> None:
    of_failed_runs = {"run_finished"}
    assert sorted(_named(_LINES)) == sorted(messages.log_lines() | of_failed_runs)


def test_every_reason_of_a_condition_or_an_event_is_explained_once() -> None:
    of_events = {"DataGivenUp"}  # an Event that is named as its condition
    of_sources = {"SecretUnavailable", "ConfigMapUnavailable"}  # made of the kind
    assert sorted(_named(_CONDITIONS)) == sorted(messages.reasons() | of_events | of_sources)


def test_every_kind_of_reason_of_a_run_is_explained() -> None:
    assert set(_named(_RUNS)) == set(ReasonKind)


def test_what_is_explained_is_said_by_the_code() -> None:
    phrases = [*_named(_RUNS, 1), *_named(_PROBES), *_named(_ERRORS)]
    assert [phrase for phrase in phrases if not _occurs(phrase, messages.texts())] == []


def test_every_error_is_explained() -> None:
    phrases = _named(_ERRORS)
    assert (
        sorted(text for text in messages.errors() if not any(_occurs(each, text) for each in phrases)) == []
    )


def test_each_row_says_what_to_do() -> None:
    assert [row for row in re.findall(r"^\|.*\|$", _PAGE, re.MULTILINE) if re.search(r"\|\s*\|$", row)] == []


def test_every_trouble_that_status_names_is_explained() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", read("how-to/handle-an-incident.md"), re.MULTILINE)
    explained = {name.replace(" ", "_") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert messages.troubles() - explained == set()
    assert {name for name in explained if name not in messages.texts().splitlines()} == set()
