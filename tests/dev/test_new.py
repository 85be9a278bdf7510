"""A new project runs and passes its tests at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from piko.dev.new import FILES, make_project
from piko.errors import RefusedError
from tests.harness.programs import PikoProcessFactory
from tests.testing.test_plugin import run_pytest


def test_a_project_passes_its_tests_and_its_job_runs(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "Our Jobs"
    command = [sys.executable, "-m", "piko", "new", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"cd {folder} && piko dev" in made.stdout
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)

    tests = run_pytest(folder, "--piko-manifests", ".", ".")
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "3 passed" in tests.stdout

    (folder / "schedules.yaml").write_text((folder / "schedules.yaml").read_text().replace("1m", "1s"))
    program = piko_process("-m", "piko", "dev", cwd=folder)
    program.wait_for_line("app 'our-jobs' of ., jobs: sync")
    program.wait_for_line("sync +SUCCESS")
    jobs = piko_process("-m", "piko", "jobs", cwd=folder / ".piko", name="cli")
    assert jobs.wait() == 0, "the other commands find the database by themselves"
    assert "sync" in jobs.output
    assert program.terminate() == 0


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine\n")
    with pytest.raises(RefusedError, match=r"has app\.py already, and nothing was written"):
        make_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]
