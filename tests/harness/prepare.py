"""`python -m tests.harness.prepare`: makes sure, before pytest starts, that every server exists."""

from __future__ import annotations

import fcntl
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness import debian, gobuild, locate


def main() -> int:
    """Prepares everything; says on stderr, one sentence each, what could not be had."""
    problems = []
    with _one_at_a_time():
        debian.clear_interrupted_installs()
        for name, find, make in _wanted():
            try:
                _provide(name, find, make)
            except locate.MissingToolError as error:
                problems.append(str(error))
    for problem in problems:
        print(f"servers: {problem}", file=sys.stderr, flush=True)
    return 1 if problems else 0


def _wanted() -> Iterator[tuple[str, Callable[[], Path | None], Callable[[], Path]]]:
    if not os.environ.get(locate.MARIADB_DSN_VARIABLE):
        yield "mariadbd", _found(locate.find_mariadb), functools.partial(debian.install_mariadb, say=_say)
    if locate.mysql_is_wanted() and not os.environ.get(locate.MYSQL_DSN_VARIABLE):
        yield "mysqld", _found_mysql, functools.partial(debian.install_mysql, say=_say)
    yield "chromium", _found(locate.find_chromium), functools.partial(debian.install_chromium, say=_say)
    yield "prometheus", _found(locate.find_prometheus), functools.partial(debian.install_prometheus, say=_say)
    programs = list(gobuild.RECIPES)
    if os.environ.get(locate.KUBECONFIG_VARIABLE):
        programs = [name for name in programs if name not in ("etcd", "kube-apiserver")]
    for name in programs:
        yield name, _found(locate.find_tool, name), functools.partial(gobuild.build, name, say=_say)


def _found(find: Callable[..., Path], *arguments: str) -> Callable[[], Path | None]:
    def look() -> Path | None:
        try:
            return find(*arguments)
        except locate.MissingToolError:
            return None

    return look


def _found_mysql() -> Path | None:
    installation = locate.find_mysql()
    return installation.mysqld if installation else None


def _provide(name: str, find: Callable[[], Path | None], make: Callable[[], Path]) -> None:
    found = find()
    if found is not None:
        _say(f"{name}: {found}")
        return
    begun = time.monotonic()
    made = make()
    _say(f"{name}: {made}, ready after {time.monotonic() - begun:.0f} s")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two runs that share a cache do not build the same program twice."""
    locate.cache_folder().mkdir(parents=True, exist_ok=True)
    with (locate.cache_folder() / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another run prepares servers in {locate.cache_folder()}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(f"servers: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
