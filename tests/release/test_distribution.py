"""What a release publishes: built twice it is the same; it installs and works without a compiler."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from piko.dev.new import FILES
from tests.docs.pages import ROOT
from tests.harness.locate import MissingToolError, find_pythons
from tests.harness.programs import PikoProcessFactory
from tests.release.conftest import build, run

pytestmark = pytest.mark.usefixtures("programs", "slow")

_CONSTRAINTS = ROOT / "constraints.txt"
_PYTHONS = find_pythons()


def test_two_builds_are_the_same_to_the_byte(distribution: dict[str, Path], tmp_path: Path) -> None:
    again = build(tmp_path, umask=0o077)
    assert sorted(again) == [".gz", ".whl"]
    assert {path.name: path.read_bytes() for path in again.values()} == {
        path.name: path.read_bytes() for path in distribution.values()
    }


@pytest.mark.parametrize("choice", ["oldest", "newest"])
def test_it_installs_without_a_compiler_and_a_new_project_works(
    choice: str, distribution: dict[str, Path], piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    environment = tmp_path / "environment" / "bin"
    run(_python(choice), "-m", "venv", environment.parent)
    run(
        environment / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--only-binary", ":all:", "--constraint", _CONSTRAINTS,
        f"piko[testing] @ {distribution['.whl'].as_uri()}",
        env={"CC": "/bin/false", "CXX": "/bin/false"},
    )  # fmt: skip
    assert run(environment / "piko", "--version").split() == ["piko", distribution[".whl"].name.split("-")[1]]

    folder = tmp_path / "jobs"
    run(environment / "piko", "new", folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert "3 passed" in run(environment / "pytest", "-q", "--piko-manifests", ".", ".", cwd=folder)

    schedules = folder / "schedules.yaml"
    schedules.write_text(schedules.read_text().replace("1m", "1s"))
    program = piko_process("-m", "piko", "dev", cwd=folder, python=environment / "python")
    program.wait_for_line("sync +SUCCESS")
    assert program.terminate() == 0


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_everything_that_it_needs_has_a_wheel(version: str, tmp_path: Path) -> None:
    for image in ("runtime", "operator"):
        run(
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run",
            "--target", tmp_path, "--only-binary", ":all:", "--no-deps", "--require-hashes",
            "--python-version", version, "--implementation", "cp", "--platform", "manylinux_2_28_x86_64",
            "--platform", "manylinux2014_x86_64", "--requirement", ROOT / "requirements" / f"{image}.txt",
        )  # fmt: skip


def test_pipx_runs_it(distribution: dict[str, Path], tmp_path: Path) -> None:
    said = run(
        sys.executable, "-m", "pipx", "run", "--spec", distribution[".whl"], "piko", "new", tmp_path / "jobs",
        env={
            "PIPX_HOME": str(tmp_path / "pipx"),
            "PIP_CONSTRAINT": str(_CONSTRAINTS), "PIP_ONLY_BINARY": ":all:",
        },
    )  # fmt: skip
    assert "piko dev" in said
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == sorted(FILES)


def _python(choice: str) -> Path:
    if len(_PYTHONS) < 2:
        raise MissingToolError(
            f"a release is tried on two versions of Python; found: {', '.join(_PYTHONS) or 'none'}; put "
            " another of 3.11 to 3.14 on PATH, as python3.12 for example"
        )
    return list(_PYTHONS.values())[0 if choice == "oldest" else -1]
