"""Code as users write it passes strict type checkers, and what they get wrong is found."""

from __future__ import annotations

import re
import runpy
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages
from tests.typing.checkers import Finding, mypy, pyright, pyright_is_here

pytestmark = pytest.mark.usefixtures("programs")

_PYTHON = re.compile(r"^ *```python\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_AWAITS = re.compile(r"^(?:\w+ = )?await |^async (?:for|with) ", re.MULTILINE)
_FEWEST_EXAMPLES = 8
PROGRAMS = Path(__file__).parent / "programs"
EXAMPLES = sorted({path.parent for path in (ROOT / "examples").rglob("*.py")})
CHECKERS = [
    pytest.param(lambda folder: mypy(folder, "--strict"), id="mypy"),
    pytest.param(
        pyright,
        id="pyright",
        marks=pytest.mark.skipif(
            not pyright_is_here(), reason="pyright (`make setup` installs it) and Node, on which it runs"
        ),
    ),
]


@pytest.mark.parametrize("check", CHECKERS)
def test_annotated_programs_pass_and_each_mistake_is_found(
    check: Callable[[Path], set[Finding]], tmp_path: Path
) -> None:
    folder = tmp_path / "programs"
    shutil.copytree(PROGRAMS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    marked = {
        ("mistakes.py", number)
        for number, line in enumerate((folder / "mistakes.py").read_text().splitlines(), start=1)
        if line.endswith("# error")
    }

    found = check(folder)

    assert {(file, line) for file, line, _ in found} == marked, sorted(found)


@pytest.mark.parametrize("check", CHECKERS)
def test_the_programs_of_the_repository_that_users_start_from_pass(
    check: Callable[[Path], set[Finding]], tmp_path: Path
) -> None:
    assert EXAMPLES
    for example in EXAMPLES:  # each is a program of its own, with a module `app`
        folder = tmp_path / example.name
        shutil.copytree(example, folder, ignore=shutil.ignore_patterns("__pycache__"))
        assert check(folder) == set(), example.name


def test_the_examples_of_readme_and_documentation_use_piko_as_it_is(tmp_path: Path) -> None:
    """They leave out annotations, and some the lines before: a name from there is no mistake."""
    written = 0
    for page in [ROOT / "README.md", *pages()]:
        for number, block in enumerate(_PYTHON.findall(page.read_text(encoding="utf-8")), start=1):
            (tmp_path / f"{page.stem.replace('-', '_')}_{number}.py").write_text(_program(block))
            written += 1
    assert written >= _FEWEST_EXAMPLES
    lenient = ("--check-untyped-defs", "--ignore-missing-imports", "--disable-error-code=name-defined")

    assert mypy(tmp_path, *lenient) == set()


def _program(block: str) -> str:
    """An example as a module: what awaits at its left margin stands in a handler."""
    text = textwrap.dedent(block)
    if _AWAITS.search(text) is None:
        return text
    return "async def example(ctx, scheduled_time):\n" + textwrap.indent(text, "    ")


def test_the_names_of_the_package_are_those_of_its_modules(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(PROGRAMS / "seed_paths.py"))
    assert set(capsys.readouterr().out.split()) == {"True"}
