"""What the Dockerfile promises to the chart, as far as reading it shows."""

from __future__ import annotations

import shlex

import pytest

from tests.chart.rendering import ROOT

INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of a stage."""
    found: list[tuple[str, str]] = []
    inside = False
    for instruction, rest in INSTRUCTIONS:
        if instruction == "FROM":
            inside = rest.split()[-1] == name
        elif inside:
            found.append((instruction, rest))
    return found


@pytest.mark.parametrize("name", ["runtime", "operator"])
def test_an_image_ends_as_a_user_by_number(name: str) -> None:
    users = [rest for instruction, rest in stage(name) if instruction == "USER"]
    assert users == ["10001:10001"]


@pytest.mark.parametrize("name", ["runtime", "operator", "base"])
def test_an_image_gets_what_was_built_outside(name: str) -> None:
    commands = [rest for instruction, rest in stage(name) if instruction == "RUN"]
    assert not [command for command in commands if "pip" in command or "apt" in command]


def test_nothing_is_compiled_and_versions_are_those_of_the_tests() -> None:
    [dependencies, *_] = [rest for instruction, rest in stage("build") if instruction == "RUN"]
    assert "--only-binary=:all:" in dependencies
    assert "-c constraints.txt" in dependencies


def test_bytecode_is_in_the_images_and_holds_whatever_time_the_sources_get() -> None:
    compiled = {
        name: [rest for instruction, rest in stage(name) if instruction == "RUN" and "compileall" in rest]
        for name in ("build", "base")
    }
    assert [len(found) for found in compiled.values()] == [1, 1]
    assert all("--invalidation-mode unchecked-hash" in found[0] for found in compiled.values())
    assert compiled["build"][0].endswith(" /installed"), "what both images get"
    assert "stdlib" in compiled["base"][0], "Python's own library, which its image strips"


def test_the_build_context_holds_what_is_copied_and_little_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for instruction, rest in INSTRUCTIONS
        if instruction == "COPY" and "--from=" not in rest
        for source in shlex.split(rest)[:-1]
    }
    assert "*" in lines
    assert all((ROOT / source).exists() for source in copied)
    assert allowed - copied == {"examples", "examples/cluster"}
    assert copied <= allowed
