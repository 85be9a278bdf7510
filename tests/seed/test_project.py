"""The printed `app.py` of a project, on both shapes that a project may have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.waiting import PATIENCE_S
from tests.seed.conftest import printed

pytestmark = pytest.mark.usefixtures("programs")

PROJECT_APP = printed("project.py")

JOB = """
from app import app

@app.job(job_id="{job_id}")
async def job(ctx, scheduled_time): ...
"""


def _registered(folder: Path) -> list[str]:
    ends = "\nprint(sorted(job.job_id for job in app.registry))\n"
    (folder / "app.py").write_text(PROJECT_APP + ends, encoding="utf-8")
    outcome = subprocess.run(
        [sys.executable, "app.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return [*outcome.stdout.splitlines(), *outcome.stderr.splitlines()]


@pytest.mark.parametrize(
    ("modules", "found"),
    [
        ({"jobs.py": "all"}, "['all']"),
        ({"user_sync/jobs.py": "users", "report/jobs.py": "report"}, "['report', 'users']"),
        ({"user_sync/deep/jobs.py": "deep", "other/views.py": "no"}, "['deep']"),
    ],
    ids=["one module", "a folder per topic", "at any depth"],
)
def test_the_jobs_of_both_shapes_of_a_project_are_found(
    modules: dict[str, str], found: str, tmp_path: Path
) -> None:
    _project(tmp_path, {name: JOB.format(job_id=job_id) for name, job_id in modules.items()})
    assert _registered(tmp_path) == [found]


def test_a_module_that_fails_to_import_is_named_with_the_cause(tmp_path: Path) -> None:
    _project(tmp_path, {"report/jobs.py": "import nowhere_to_be_found\n"})
    last = _registered(tmp_path)[-1]
    assert "autodiscover: importing my_project.report.jobs failed: ModuleNotFoundError" in last
    assert "nowhere_to_be_found" in last


def test_a_project_without_jobs_is_pointed_out(tmp_path: Path) -> None:
    _project(tmp_path, {"other.py": ""})
    assert "create my_project/jobs.py or name the right module" in _registered(tmp_path)[-1]


def _project(folder: Path, modules: dict[str, str]) -> None:
    package = folder / "my_project"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, source in modules.items():
        module = package / name
        module.parent.mkdir(parents=True, exist_ok=True)
        for parent in module.relative_to(package).parents:
            (package / parent / "__init__.py").touch()
        module.write_text(source, encoding="utf-8")
