"""Links between pages: relative, so that they hold behind any prefix, that of a proxy for example."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlencode

Query = Iterable[tuple[str, str]]


def root_of(path: str) -> str:
    """What leads from the page at `path` to where the pages begin; it ends with a slash."""
    return "./" + "../" * path.lstrip("/").count("/")


def with_query(path: str, query: Query) -> str:
    """`path` with `query`, beside what query it has; empty values are left out."""
    written = urlencode([(name, value) for name, value in query if value])
    return f"{path}{'&' if '?' in path else '?'}{written}" if written else path


def quoted(path: str) -> str:
    """`path` as it stands in an address."""
    return quote(path, safe="/:")


def job(job_id: str) -> str:
    """The page of a job, from where the pages begin."""
    return f"jobs/{quote(job_id, safe='')}"


def run(run_id: str) -> str:
    """The page of a run, from where the pages begin."""
    return f"runs/{quote(run_id, safe='')}"


def letter(letter_id: str) -> str:
    """Where a dead letter is acted on, from where the pages begin."""
    return f"dead-letters/{quote(letter_id, safe='')}"


def letters(**filters: str) -> str:
    """The list of dead letters that `filters` leave, from where the pages begin."""
    return with_query("dead-letters", filters.items())


def run_log(run_id: str, *, after: int) -> str:
    """Where the log of a run is followed from, behind its first `after` lines."""
    return with_query(f"api/v1/{run(run_id)}/log", [("after", str(after))])


def backfill(backfill_id: str) -> str:
    """The page of a backfill, from where the pages begin."""
    return f"backfills/{quote(backfill_id, safe='')}"
