"""Every recipe of the cookbook does what its test says, in a folder of its own, as a reader would run it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.harness.programs import PikoProcessFactory

_PAGE = (DOCS / "how-to" / "cookbook.md").read_text(encoding="utf-8")
_RECIPES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_there_are_a_dozen() -> None:
    assert len(_RECIPES) >= 12


@pytest.mark.parametrize("title", _RECIPES)
def test_a_recipe_does_what_its_test_says(
    title: str, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    app, *schedules, test = _BLOCK.findall(_RECIPES[title])
    folder = tmp_path / "recipe"
    folder.mkdir()
    for name, (_, text) in {"app.py": app, "test_recipe.py": test}.items():
        (folder / name).write_text(text, encoding="utf-8")
    for language, text in schedules:
        assert language == "yaml"
        (folder / "schedules.yaml").write_text(text, encoding="utf-8")
    ran = piko_process("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert ran.wait() == 0, ran.tail()
    assert re.search(r"\b[1-9]\d* passed", ran.output)
