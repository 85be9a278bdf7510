"""That hooks and CI run what the Makefile runs, and that what is installed is pinned."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_MAKEFILE = (_ROOT / "Makefile").read_text(encoding="utf-8")
_HOOKS: list[dict[str, Any]] = yaml.safe_load(
    (_ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
)["repos"]


def test_hooks_fetch_nothing() -> None:
    assert [repository["repo"] for repository in _HOOKS] == ["local"]
    assert {hook["language"] for hook in _HOOKS[0]["hooks"]} == {"system"}


@pytest.mark.parametrize("hook", _HOOKS[0]["hooks"], ids=lambda hook: str(hook["id"]))
def test_a_hook_is_a_step_of_make_check(hook: dict[str, Any]) -> None:
    tool = hook["entry"].split()[0].replace(".venv/bin/", "$(BIN)/")
    check = _MAKEFILE.partition("\ncheck: ")[2].partition("\n\n")[0]
    assert f"\t{tool} " in f"{check} " or f"\t{tool}\n" in f"{check}\n"


def test_ci_runs_the_command_that_a_person_runs_too() -> None:
    workflow = yaml.safe_load((_ROOT / ".github/workflows/ci.yaml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = [step["run"].split() for step in steps if "run" in step]
    assert any(command[-1] == ".ci/run" for command in commands)
    assert "exec make test" in (_ROOT / ".ci/run").read_text(encoding="utf-8")


def test_ci_tries_each_python_that_the_distribution_names() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    named = {line.rpartition(" ")[2] for line in project["classifiers"] if line.startswith(prefix)}
    workflow = yaml.safe_load((_ROOT / ".github/workflows/ci.yaml").read_text(encoding="utf-8"))
    assert set(workflow["jobs"]["unit"]["strategy"]["matrix"]["python"]) == named


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (_ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {_normal(pin.partition("==")[0]) for pin in pins if "==" in pin}
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    assert {_normal(item) for item in wanted} - pinned == set()


def _normal(requirement: str) -> str:
    """The name of a requirement as package indexes compare it."""
    name = requirement
    for end in "<>=!~[; ":
        name = name.partition(end)[0]
    return name.lower().replace("_", "-").replace(".", "-")
