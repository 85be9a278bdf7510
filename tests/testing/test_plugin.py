"""A folder of a user's own: an app, its files, and tests; and the examples with theirs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, read

pytestmark = pytest.mark.usefixtures("programs")

EXAMPLES = sorted({path.parent for path in (ROOT / "examples").rglob("test_*.py")})


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest in `folder` as a user runs it, with Piko's plugin and no other."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "piko.testing.plugin", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*command, "--rootdir", str(folder), "-c", os.devnull, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def tutorial(folder: Path) -> None:
    """The folder that a reader of the tutorial has made."""
    page = read("tutorial/test-your-jobs.md")
    app, *tests = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (schedules,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    (folder / "app.py").write_text(app)
    (folder / "schedules.yaml").write_text(schedules)
    (folder / "test_shop.py").write_text("\n\n".join(tests))


def test_the_five_tests_of_the_tutorial_pass_and_each_resource_is_one_more(tmp_path: Path) -> None:
    tutorial(tmp_path)
    outcome = run_pytest(tmp_path, "--piko-manifests", ".")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "6 passed" in outcome.stdout


def test_a_resource_that_the_code_does_not_fit_fails_with_its_reason(tmp_path: Path) -> None:
    tutorial(tmp_path)
    (tmp_path / "more.yaml").write_text(
        (tmp_path / "schedules.yaml").read_text().replace("sync_orders", "sync_others")
        + "---\napiVersion: piko.dev/v1\nkind: PikoJobConfig\nmetadata: {name: sync}\n"
        "spec: {jobId: sync_orders, config: {at_once: many}}\n"
        "---\napiVersion: piko.dev/v1\nkind: PikoSchedule\nmetadata: {name: other}\nspec: {jobID: other}\n"
    )
    outcome = run_pytest(tmp_path, "--piko-manifests", ".", "-k", "more.yaml")
    assert outcome.returncode == 1
    for expected in (
        "no replica has registered the job 'sync_others'",
        "at_once",
        "spec.jobID: unknown field",
    ):
        assert expected in outcome.stdout
    assert "3 failed" in outcome.stdout


def test_a_folder_without_resources_is_a_wrong_argument(tmp_path: Path) -> None:
    assert "no file there holds a resource of Piko" in run_pytest(tmp_path, "--piko-manifests", ".").stderr


def test_a_folder_without_an_app_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(piko_run_job): ...\n")
    outcome = run_pytest(tmp_path)
    assert "no PikoApp found" in outcome.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_tests_of_an_example_pass(example: Path) -> None:
    outcome = run_pytest(example, "--piko-manifests", ".", ".")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def _calls_app_job(node: ast.expr) -> bool:
    called = node.func if isinstance(node, ast.Call) else node
    return isinstance(called, ast.Attribute) and called.attr == "job"


def functions(example: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(example.rglob("*.py"))]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_each_job_of_an_example_has_a_test_of_under_ten_lines(example: Path) -> None:
    found = functions(example)
    jobs = {each.name for each in found if any(map(_calls_app_job, each.decorator_list))}
    tests = [each for each in found if each.name.startswith("test_")]
    short = [each for each in tests if (each.end_lineno or 0) - each.lineno + 1 < 10]
    named = {node.value for each in short for node in ast.walk(each) if isinstance(node, ast.Constant)}
    assert jobs
    assert jobs <= named
    assert short == tests


def test_each_example_with_an_app_has_tests() -> None:
    assert {path.parent for path in (ROOT / "examples").rglob("app.py")} == set(EXAMPLES)


def test_what_serves_and_what_speaks_sql_is_not_imported_for_a_test() -> None:
    program = (
        "import sys, piko.app, piko.testing.inline_run, piko.testing.timeline\n"
        "print(*sorted(sys.modules), sep='\\n')\n"
    )
    asked = [sys.executable, "-c", program]
    loaded = set(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())
    assert "piko.testing.timeline" in loaded
    unwanted = {"fastapi", "uvicorn", "alembic", "sqlalchemy.ext.asyncio", "piko.replica.composition"}
    assert not loaded & unwanted
