"""What each test stands on, and the unit tier: the tests that stand on nothing but Python.

A test says what it needs by the fixtures that it asks for; from these its marks follow, so that none is set
by hand. A property says by its settings that it takes long: one that is tried on more examples than
Hypothesis' default gets `many_examples`. What takes seconds asks for the fixture `slow`, or its parameter has
an attribute of that name. A test without any of these marks gets `unit`. While a unit test
runs, this process starts no server and no foreign tool: a test that reaches for one past the fixtures fails
and names the fixture to ask for.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

UNIT = "unit"
MARKS = {
    "apiserver": "stands on a Kubernetes API server",
    "browser": "drives a real browser",
    "dask": "starts a Dask scheduler and workers",
    "helm": "runs helm",
    "many_examples": "tries a property on more examples than is Hypothesis' default",
    "mariadb": "stands on MariaDB",
    "mysql": "stands on MySQL",
    "programs": "starts replicas, workers, commands or other programs and waits for what they do",
    "slow": "takes seconds: works on a very large value, or sees a bound on time reached",
    "sqlite": "stands on SQLite, which needs no server",
    UNIT: "stands on nothing but Python and is quick: `make unit`",
}

_BY_FIXTURE = {
    "browser": {"browser"},
    "control_plane": {"apiserver"},
    "dask_address": {"dask"},
    "helm": {"helm"},
    "make_manager": {"programs"},
    "mariadb": {"mariadb"},
    "own_control_plane": {"apiserver"},
    "own_mariadb": {"mariadb"},
    "piko_process": {"programs"},
    "programs": {"programs"},
    "slow": {"slow"},
    "sqlite": {"sqlite"},
    "two_replicas": {"mariadb", "programs"},
}
# Whose parameter says on what a test stands.
_BY_PARAMETER = ("database", "kept_database", "manager")
_WITH_SERVER = {"apiserver", "mariadb", "mysql"}
_DEFAULT_EXAMPLES = 100

_PROGRAMS = {
    "chromium": "browser",
    "etcd": "control_plane",
    "helm": "helm",
    "kube-apiserver": "control_plane",
    "kubectl": "control_plane",
    "mariadb-install-db": "own_mariadb",
    "mariadbd": "own_mariadb",
    "mysqld": "database",
}


class NotAUnitTestError(RuntimeError):
    """A test without a mark for it reached for a server or a tool."""


class _Running:
    unit_test: str | None = None


class _Thread(threading.local):
    is_the_runs: bool = False


_running = _Running()
_thread = _Thread()


def marks_of(item: pytest.Item) -> set[str]:
    """What a collected test stands on, by its fixtures; `unit` if that is nothing."""
    asked = set(getattr(item, "fixturenames", ()))
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    marks = {mark for name in asked for mark in _BY_FIXTURE.get(name, ())}
    marks |= {str(parameters[name]) for name in _BY_PARAMETER if name in parameters} & MARKS.keys()
    if "servers" in asked and not marks & _WITH_SERVER:
        raise pytest.UsageError(
            f"{item.nodeid} asks for `servers` and for none of the fixtures that say which: add one, or add "
            f"your fixture to tests/harness/tiers.py"
        )
    if _examples_of(item) > _DEFAULT_EXAMPLES:
        marks.add("many_examples")
    if any(getattr(value, "slow", False) for value in parameters.values()):
        marks.add("slow")
    return marks or {UNIT}


def _examples_of(item: pytest.Item) -> int:
    """On how many examples Hypothesis tries it; 0 for a test that is no property."""
    function = getattr(item, "obj", None)
    if not is_hypothesis_test(function):
        return 0
    chosen = getattr(function, "_hypothesis_internal_use_settings", None) or settings()
    return int(chosen.max_examples)


@contextmanager
def running(item: pytest.Item) -> Iterator[None]:
    """While the block lasts, what this process may start is what the marks of `item` say."""
    _running.unit_test = item.nodeid if item.get_closest_marker(UNIT) else None
    try:
        yield
    finally:
        _running.unit_test = None


@contextmanager
def preparing_the_run() -> Iterator[None]:
    """What this thread starts within the block is for tests to come, whichever runs now."""
    _thread.is_the_runs = True
    try:
        yield
    finally:
        _thread.is_the_runs = False


def refuse_servers(name: str) -> None:
    """Raises `NotAUnitTestError` where the server `name` is asked for within a unit test."""
    if _running.unit_test is not None:
        raise NotAUnitTestError(
            f"{_running.unit_test} reached for {name} without asking for its fixture: ask for `{name}`"
        )


def watch_programs() -> None:
    """From now on no unit test of this process starts a server or a foreign tool."""
    sys.addaudithook(_refuse_programs)


def _refuse_programs(event: str, arguments: tuple[object, ...]) -> None:
    if event != "subprocess.Popen" or _running.unit_test is None or _thread.is_the_runs:
        return
    _, command, *_ = arguments
    parts = command if isinstance(command, (list, tuple)) else [command]
    for part in parts[:4]:  # a foreign `mysqld` is started by its own loader, which comes first
        fixture = _PROGRAMS.get(Path(str(part)).name)
        if fixture is not None:
            raise NotAUnitTestError(
                f"{_running.unit_test} starts {part} without asking for it: ask for the fixture `{fixture}`"
            )
