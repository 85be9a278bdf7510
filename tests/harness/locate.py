"""Finds servers and tools, and never builds: the environment, then `PATH`, then the cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.harness import versions
from tests.harness.waiting import PATIENCE_S

CACHE_VARIABLE = "PIKO_TEST_CACHE"
ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
KUBECONFIG_VARIABLE = "PIKO_TEST_KUBECONFIG"
MARIADB_DSN_VARIABLE = "PIKO_TEST_MARIADB_DSN"
MYSQL_DSN_VARIABLE = "PIKO_TEST_MYSQL_DSN"
MYSQL_VARIABLE = "PIKO_TEST_MYSQL"
CHROMIUM_VARIABLE = "PIKO_TEST_CHROMIUM"

SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13", "3.14")

# Debian keeps servers out of the PATH of ordinary users.
_SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
_POSTGRESQL = Path("/usr/lib/postgresql")


class MissingToolError(RuntimeError):
    """A server or tool is not there; the message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class MySQLInstallation:
    """A MySQL server on disk: on this system's own file tree, or in a Debian tree inside the cache."""

    root: Path

    @property
    def mysqld(self) -> Path:
        return self.root / "usr/sbin/mysqld"

    @property
    def command(self) -> tuple[str, ...]:
        """What runs `mysqld`: from a foreign tree it must bring its own loader and libraries."""
        if self.root == Path("/"):
            return (str(self.mysqld),)
        loader = next(self.root.glob("lib64/ld-linux-*.so.*"), None) or next(
            self.root.glob("lib/ld-linux-*.so.*")
        )
        libraries = sorted({str(path.parent) for path in self.root.glob("usr/lib/*/libc.so.6")})
        private = [str(self.root / "usr/lib/mysql/private")]
        return (str(loader), "--library-path", ":".join(libraries + private), str(self.mysqld))

    @property
    def options(self) -> tuple[str, ...]:
        """Where `mysqld` finds what belongs to it."""
        return (
            f"--basedir={self.root / 'usr'}",
            f"--lc-messages-dir={self.root / 'usr/share/mysql'}",
            f"--character-sets-dir={self.root / 'usr/share/mysql/charsets'}",
            f"--plugin-dir={self.root / 'usr/lib/mysql/plugin'}",
        )


def cache_folder() -> Path:
    """Where built programs are kept between runs."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "piko-test")


def cached_program(name: str) -> Path:
    """The place of a built program in the cache, whether or not it exists."""
    return cache_folder() / f"{name}-{_VERSIONS[name]}" / name


def find_tool(name: str) -> Path:
    """The program `name`: etcd, kube-apiserver, kubectl, helm, kubeconform or our own `gitops`.

    Raises `MissingToolError`.
    """
    if name not in _VERSIONS:
        raise ValueError(f"find_tool({name!r}): expected one of {', '.join(_VERSIONS)}")
    assets = os.environ.get(ASSETS_VARIABLE)
    candidates = (
        Path(assets) / name if assets else None,
        _on_path(name),
        cached_program(name),
    )
    for candidate in candidates:
        if candidate is not None and os.access(candidate, os.X_OK):
            return candidate
    raise MissingToolError(
        f"{name} was not found in ${ASSETS_VARIABLE}, on PATH or in {cached_program(name).parent}: "
        f"run `make servers`, which builds it, or install {name} {_VERSIONS[name]} and put it on PATH"
    )


def find_mariadb() -> Path:
    """The `mariadbd` program. Raises `MissingToolError`."""
    found = _on_path("mariadbd", _SERVER_FOLDERS)
    if found is None:
        raise MissingToolError(
            f"mariadbd was not found on PATH or in {', '.join(_SERVER_FOLDERS)}: run `make servers` "
            f"as root on Debian or Ubuntu, or install MariaDB 10.6 or newer (package mariadb-server), "
            f"or name a server in {MARIADB_DSN_VARIABLE}"
        )
    return found


def find_chromium() -> Path:
    """The browser that tests of the page drive. Raises `MissingToolError`."""
    named = os.environ.get(CHROMIUM_VARIABLE)
    found = Path(named) if named else next(filter(None, map(_on_path, _CHROMIUMS)), None)
    if found is None or not os.access(found, os.X_OK):
        raise MissingToolError(
            f"no Chromium was found in ${CHROMIUM_VARIABLE} or on PATH ({', '.join(_CHROMIUMS)}): run "
            f"`make servers` as root on Debian, or install Chromium and name it in {CHROMIUM_VARIABLE}"
        )
    return found


def find_promtool() -> Path:
    """Prometheus' own checker of rules and metrics. Raises `MissingToolError`."""
    return _of_prometheus("promtool")


def find_prometheus() -> Path:
    """The Prometheus server. Raises `MissingToolError`."""
    return _of_prometheus("prometheus")


def _of_prometheus(name: str) -> Path:
    found = _on_path(name)
    if found is None:
        raise MissingToolError(
            f"no {name} was found on PATH: run `make servers` as root on Debian, or install Prometheus "
            "(package prometheus)"
        )
    return found


def find_postgresql() -> Path:
    """The folder of PostgreSQL's server programs, `initdb` and `postgres`. Raises `MissingToolError`."""
    found = _on_path("initdb")
    # Debian keeps each major version in a folder of its own, and none of them on PATH.
    folders = [found.resolve().parent] if found else sorted(_POSTGRESQL.glob("*/bin"), key=_major_version)
    whole = [folder for folder in folders if os.access(folder / "postgres", os.X_OK)]
    if not whole:
        raise MissingToolError(
            f"PostgreSQL's initdb and postgres were not found on PATH or in {_POSTGRESQL}/*/bin: install "
            f"PostgreSQL 13 or newer (package postgresql)"
        )
    return whole[-1]


def find_pythons() -> dict[str, Path]:
    """The interpreters that Piko supports, by version, oldest first: on `PATH`, or made by pyenv."""
    found = {}
    for version in SUPPORTED_PYTHONS:
        made = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        program = made[-1] if made else _on_path(f"python{version}")
        if program is not None:
            found[version] = program
    return found


@cache
def find_mysql() -> MySQLInstallation | None:
    """A MySQL server on `PATH` or in the cache, else None: MySQL is optional."""
    on_path = _on_path("mysqld", _SERVER_FOLDERS)
    if on_path is not None and "mariadb" not in _version_of(on_path).lower():
        return MySQLInstallation(root=on_path.resolve().parents[2])
    cached = MySQLInstallation(root=mysql_tree())
    return cached if cached.mysqld.exists() else None


def mysql_tree() -> Path:
    """The place of the Debian tree that holds MySQL, whether or not it exists."""
    return cache_folder() / f"mysql-{versions.MYSQL_SERIES}"


def mysql_is_wanted() -> bool:
    """Whether this run must see a MySQL server, not only use one that happens to be there."""
    return os.environ.get(MYSQL_VARIABLE, "") not in ("", "0")


def _digest(folder: Path) -> str:
    """Stands for a version of a program whose source is ours."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


_VERSIONS = {
    "etcd": versions.ETCD,
    "kube-apiserver": versions.KUBERNETES,
    "kubectl": versions.KUBERNETES,
    "helm": versions.HELM,
    "kubeconform": versions.KUBECONFORM,
    "gitops": _digest(Path(__file__).parent / "go" / "gitops"),
}


def _on_path(name: str, further: Iterable[str] = ()) -> Path | None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *further])
    found = shutil.which(name, path=path)
    return Path(found) if found else None


def _major_version(folder: Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdecimal() else 0


def _version_of(program: Path) -> str:
    return subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    ).stdout
