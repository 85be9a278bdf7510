"""Installs MariaDB, MySQL, PostgreSQL, Chromium and Prometheus with Debian's tools; no service is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.harness import versions
from tests.harness.locate import (
    MYSQL_DSN_VARIABLE,
    MYSQL_VARIABLE,
    MissingToolError,
    cache_folder,
    find_chromium,
    find_mariadb,
    find_postgresql,
    find_prometheus,
    mysql_tree,
)
from tests.harness.reaper import unmount_below

_POLICY = Path("/usr/sbin/policy-rc.d")
_FORBID_SERVICES = "#!/bin/sh\nexit 101\n"
_UNFINISHED = ".mysql-"
_QUIET: Mapping[str, str] = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def install_mariadb(*, say: Callable[[str], None]) -> Path:
    """Installs Debian's or Ubuntu's mariadb-server and returns `mariadbd`. Raises `MissingToolError`."""
    if not _can_install():
        return find_mariadb()
    remedy = "install MariaDB 10.6 or newer (package mariadb-server) by hand"
    _install_server("mariadb-server", log=_log("mariadb"), remedy=remedy, say=say)
    return find_mariadb()


def install_chromium(*, say: Callable[[str], None]) -> Path:
    """Installs Debian's chromium and returns the program. Raises `MissingToolError`."""
    if not _can_install():
        return find_chromium()
    remedy = "install Chromium (package chromium) by hand, or name one in PIKO_TEST_CHROMIUM"
    _install_server("chromium", log=_log("chromium"), remedy=remedy, say=say)
    return find_chromium()


def install_prometheus(*, say: Callable[[str], None]) -> Path:
    """Installs Debian's prometheus and promtool, and returns the former. Raises `MissingToolError`."""
    if not _can_install():
        return find_prometheus()
    _install_server("prometheus", log=_log("prometheus"), remedy="install Prometheus by hand", say=say)
    return find_prometheus()


def install_postgresql(*, say: Callable[[str], None]) -> Path:
    """Installs Debian's or Ubuntu's postgresql and returns the folder of its server programs.

    Raises `MissingToolError`.
    """
    if not _can_install():
        return find_postgresql()
    remedy = "install PostgreSQL 13 or newer (package postgresql) by hand"
    _install_server("postgresql", log=_log("postgresql"), remedy=remedy, say=say)
    return find_postgresql()


def install_mysql(*, say: Callable[[str], None]) -> Path:
    """Unpacks Debian unstable with mysql-server into the cache and returns that tree.

    Raises `MissingToolError`.
    """
    remedy = f"name a MySQL server in {MYSQL_DSN_VARIABLE}, or unset {MYSQL_VARIABLE} to do without"
    if not _can_install():
        raise MissingToolError(f"MySQL is installed by root on Debian only (debootstrap): {remedy}")
    log = _log("mysql")
    _run(["apt-get", "update"], log=log, remedy=remedy)
    mirror = _mirror(remedy)
    environment = _proxies()
    tree = mysql_tree()
    with tempfile.TemporaryDirectory(
        prefix=_UNFINISHED, dir=cache_folder(), ignore_cleanup_errors=True
    ) as scratch:
        unfinished = Path(scratch) / "tree"
        if shutil.which("debootstrap") is None:
            _run(
                ["apt-get", "install", "-y", "--no-install-recommends", "debootstrap"], log=log, remedy=remedy
            )
        say(f"mysql-server {versions.MYSQL_SERIES}: unpacking Debian unstable from {mirror}, log in {log}")
        unpack = ["debootstrap", "--variant=minbase", "sid", str(unfinished), mirror]
        inside = ["chroot", str(unfinished)]
        install = [*inside, "apt-get", "install", "-y", "--no-install-recommends", "mysql-server"]
        try:
            _run(unpack, log=log, remedy=remedy, environment=environment)
            with _no_services_started(unfinished / _POLICY.relative_to("/")):
                _run(install, log=log, remedy=remedy, environment=environment)
            _run([*inside, "apt-get", "clean"], log=log, remedy=remedy)
        finally:
            unmount_below(unfinished, check=True)  # debootstrap leaves /proc and /sys if it is interrupted
        if not (unfinished / "usr/sbin/mysqld").exists():
            raise MissingToolError(f"Debian unstable's mysql-server brought no mysqld: {remedy}")
        unfinished.chmod(0o755)
        unfinished.rename(tree)
    return tree


def clear_interrupted_installs() -> None:
    """Removes the trees of installations that were killed; call it while nobody else installs."""
    for unfinished in cache_folder().glob(f"{_UNFINISHED}*"):
        unmount_below(unfinished, check=True)
        shutil.rmtree(unfinished)


def _install_server(package: str, *, log: Path, remedy: str, say: Callable[[str], None]) -> None:
    say(f"{package}: installing with apt-get, log in {log}")
    with _no_services_started(_POLICY):
        _run(["apt-get", "update"], log=log, remedy=remedy)
        _run(["apt-get", "install", "-y", "--no-install-recommends", package], log=log, remedy=remedy)


def _can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _mirror(remedy: str) -> str:
    """The Debian mirror that this machine's apt uses."""
    listed = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
            "Origin: Debian",
            "Label: Debian",
        ],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not listed:
        raise MissingToolError(f"apt on this machine knows no Debian mirror to take MySQL from: {remedy}")
    return listed[0]


def _proxies() -> dict[str, str]:
    """apt's own proxies, for the tools around apt that do not read its configuration."""
    said = subprocess.run(
        ["apt-config", "shell", "http_proxy", "Acquire::http::Proxy", "https_proxy", "Acquire::https::Proxy"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return dict(re.findall(r"^(\w+)='([^']+)'$", said, flags=re.MULTILINE))


@contextmanager
def _no_services_started(policy: Path) -> Iterator[None]:
    """Debian asks this file before it starts a service; what was there before is put back."""
    before = policy.read_bytes() if policy.exists() else None
    policy.write_text(_FORBID_SERVICES, encoding="utf-8")
    policy.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            policy.unlink()
        else:
            policy.write_bytes(before)


def _log(name: str) -> Path:
    cache_folder().mkdir(parents=True, exist_ok=True)
    log = cache_folder() / f"{name}.install.log"
    log.write_bytes(b"")
    return log


def _run(command: list[str], *, log: Path, remedy: str, environment: Mapping[str, str] | None = None) -> None:
    with log.open("a", encoding="utf-8") as output:
        outcome = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_QUIET, **(environment or {})},
            check=False,
        )
    if outcome.returncode != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
        raise MissingToolError(f"`{' '.join(command)}` failed: {remedy}; it said\n{tail}")
