"""One clock, one place for SQL, no state in modules, no class name twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.architecture.sources import (
    PACKAGES,
    ROOT,
    Rule,
    class_names,
    module_level_imports,
    mutable_singletons,
    reads_of_a_clock,
    sql_statements,
    trees,
)

_RUNTIME = PACKAGES[0]
_CLOCK = _RUNTIME / "clock.py"
_WITH_SQL = (_RUNTIME / "store", _RUNTIME / "spool")
"""The database, and the SQLite files on a replica's own disk."""


def test_time_is_read_in_the_clock_module_alone() -> None:
    assert _broken(reads_of_a_clock, but_in=[_CLOCK]) == []


def test_sql_is_written_in_the_store_and_the_spool_alone() -> None:
    assert _broken(sql_statements, but_in=_WITH_SQL) == []


def test_no_module_holds_state() -> None:
    assert _broken(mutable_singletons) == []


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees().items():
        for name in class_names(tree):
            places[name].append(str(path.relative_to(ROOT)))
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert twice == {}, "a name that stands for two things explains neither: rename one of them"


def test_an_instant_is_written_by_one_function() -> None:
    writing = [path for path in trees() if '"+00:00"' in path.read_text(encoding="utf-8")]
    assert writing == [_RUNTIME / "text.py"], "piko.text.instant_text writes RFC 3339 for everybody"


# ---- the rules themselves: each bad line is seen, each good one left alone --------------------------


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (reads_of_a_clock, "now = datetime.now(UTC)"),
        (reads_of_a_clock, "now = datetime.datetime.utcnow()"),
        (reads_of_a_clock, "field(default_factory=time.time)"),
        (reads_of_a_clock, "from time import monotonic"),
        (sql_statements, "await run('SELECT 1 FROM dual')"),
        (sql_statements, "await run(f'update {table} set a = 1')"),
        (sql_statements, "run('''\n  DELETE FROM job_run WHERE 1''')"),
        (mutable_singletons, "_cache = {}"),
        (mutable_singletons, "_cache: dict[str, int] = dict()"),
        (mutable_singletons, "_by_kind = defaultdict(list)"),
        (mutable_singletons, "lock = asyncio.Lock()"),
        (mutable_singletons, "RUNS = prometheus_client.Gauge('runs', 'Runs')"),
        (mutable_singletons, "app = PikoApp(name='x')"),
        (mutable_singletons, "def set_it():\n    global it\n    it = 1"),
        (mutable_singletons, "TABLE = {'a': 1}\ndef f():\n    TABLE['b'] = 2"),
        (mutable_singletons, "TABLE = [1]\ndef f():\n    TABLE.append(2)"),
    ],
)
def test_a_broken_rule_is_seen(rule: Rule, source: str) -> None:
    assert list(rule(ast.parse(source)))


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (reads_of_a_clock, "clock.now(); clock.monotonic(); loop.time()"),
        (reads_of_a_clock, "datetime.fromtimestamp(1, UTC)"),
        (sql_statements, '"""SELECT a FROM b is how it is read."""'),
        (sql_statements, "raise SettingsError('select one of these')"),
        (mutable_singletons, "UNITS = {'s': 1, 'm': 60}\ndef f():\n    return UNITS['s']"),
        (mutable_singletons, "UNITS = {'s': 1}\ndef f():\n    UNITS = []\n    UNITS.append(1)"),
        (mutable_singletons, "def f():\n    seen = {}\n    seen['a'] = 1"),
        (mutable_singletons, "_SYNCED = Condition(type='Synced')"),
        (mutable_singletons, "_LOG = structlog.get_logger()"),
    ],
)
def test_what_is_allowed_is_left_alone(rule: Rule, source: str) -> None:
    assert not list(rule(ast.parse(source)))


def test_classes_are_found_wherever_they_stand() -> None:
    source = "class Run:\n    class Row: ...\ndef f():\n    class _End: ..."
    assert sorted(class_names(ast.parse(source))) == ["Row", "Run", "_End"]


def test_an_import_inside_a_function_or_for_types_is_not_a_module_level_one() -> None:
    source = (
        "import os\n"
        "if TYPE_CHECKING:\n    import kopf\n"
        "def f():\n    import aiohttp\n"
        "try:\n    import uvloop\nexcept ImportError:\n    import asyncio.events\n"
    )
    assert sorted(module_level_imports(ast.parse(source))) == ["asyncio", "os", "uvloop"]


def _broken(rule: Rule, *, but_in: Sequence[Path] = ()) -> list[str]:
    """Each line of the two packages that breaks the rule, but for what may."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"  # type: ignore[attr-defined]
        for path, tree in trees().items()
        if not any(path.is_relative_to(place) for place in but_in)
        for node in rule(tree)
    ]
