"""What the Dockerfile promises to the chart, as far as reading it shows."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

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


def test_nothing_is_compiled_and_no_file_is_installed_whose_hash_is_not_known() -> None:
    [dependencies, *_] = [rest for instruction, rest in stage("build") if instruction == "RUN"]
    assert {"--only-binary=:all:", "--no-deps", "--require-hashes"} <= set(dependencies.split())
    assert ("COPY", "requirements/operator.txt requirements.txt") in stage("build")


@pytest.mark.parametrize("image", ["runtime", "operator"])
def test_versions_of_the_images_are_those_of_the_tests(image: str) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    tested = {canonicalize_name(name): version for name, version in pairs}
    pinned = requirements(image)
    assert pinned == {name: tested[name] for name in pinned}


def test_every_package_that_an_image_needs_is_pinned() -> None:
    operator, runtime = requirements("operator"), requirements("runtime")
    assert set(operator) == needed("piko", extra="operator")
    assert set(runtime) == needed("piko")
    assert runtime.items() <= operator.items(), "the build takes both from the operator's"


@pytest.mark.parametrize("image", ["runtime", "operator"])
def test_every_pin_has_hashes_and_names_no_place(image: str) -> None:
    text = (ROOT / "requirements" / f"{image}.txt").read_text(encoding="utf-8")
    assert all("--hash=sha256:" in pin for pin in re.split(r"\n(?=\w)", text)[1:])
    assert "://" not in text
    assert "index" not in text


def requirements(image: str) -> dict[NormalizedName, str]:
    """The version of each package of an image."""
    text = (ROOT / "requirements" / f"{image}.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==(\S+) ", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def needed(distribution: str, extra: str = "") -> set[str]:
    """What `distribution` requires with an extra, and what that requires, by normalized names."""
    found: set[str] = set()
    pending = [(distribution, extra)]
    seen = set(pending)
    while pending:
        name, wanted = pending.pop()
        for text in requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
                continue
            dependency = canonicalize_name(requirement.name)
            found.add(dependency)
            further = {(dependency, each) for each in ("", *requirement.extras)} - seen
            seen |= further
            pending += further
    return found


def test_a_user_without_a_name_has_a_home_that_can_be_written() -> None:
    [variables] = [rest for instruction, rest in stage("base") if instruction == "ENV"]
    assert {"HOME=/tmp", "LOGNAME=piko"} <= set(variables.split())


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
    assert allowed - copied == {"examples", "examples/cluster", "requirements"}
    assert copied <= allowed
