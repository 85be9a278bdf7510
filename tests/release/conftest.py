"""A distribution as a release builds it, and programs that its users install it with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

# What a checkout of a release holds of what is built.
_SOURCES = ("runtime", "operator", "crds", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")
_EPOCH = "1700000000"


def build(folder: Path, *, umask: int = 0o022) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it, of a fresh copy of the sources in `folder`."""
    source, made = folder / "source", folder / "dist"
    source.mkdir()
    for name in _SOURCES:
        whole = ROOT / name
        if whole.is_dir():
            shutil.copytree(whole, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(whole, source / name)  # as of now: the time of each file is another one
    run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", made, source,
        env={"SOURCE_DATE_EPOCH": _EPOCH}, umask=umask,
    )  # fmt: skip
    return {path.suffix: path for path in made.iterdir()}


def run(
    *command: str | Path, env: dict[str, str] | None = None, umask: int = -1, cwd: Path | None = None
) -> str:
    """What a command prints; a test fails with all of it if the command does."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIKO_", "PYTHON"))}
    ran = subprocess.run(
        [str(part) for part in command], env={**clean, **(env or {})}, cwd=cwd, umask=umask,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:]
    return ran.stdout


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of a release by their ending: `.whl`, and `.gz` of the sdist."""
    return build(tmp_path_factory.mktemp("release"))
