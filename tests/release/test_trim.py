"""What is cut off the packages of an image is what nothing loads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from requirements.trim import loaded_part, trim

_INSTALLED = Path(sysconfig.get_path("purelib"))
_USES = """
import asyncio, importlib, pathlib, sys
modules = [importlib.import_module(name) for name in (
    "asyncmy.connection", "asyncmy.cursors", "greenlet._greenlet",
    "pydantic_core._pydantic_core", "yaml._yaml",
)]
assert all(pathlib.Path(module.__file__).is_relative_to(sys.argv[1]) for module in modules), modules
import asyncmy, greenlet, pydantic_core, yaml
assert yaml.load("{a: [1, 2]}", Loader=yaml.CSafeLoader) == {"a": [1, 2]}
assert greenlet.greenlet(lambda: 7).switch() == 7
try:
    pydantic_core.SchemaValidator(pydantic_core.core_schema.int_schema()).validate_python("no number")
except pydantic_core.ValidationError as error:
    print("refused by Rust:", error.error_count())
try:
    asyncio.run(asyncmy.connect(host="127.0.0.1", port=1))
except asyncmy.errors.OperationalError as error:
    print("refused by C:", error.args[0])
"""
_PACKAGES = ("asyncmy", "greenlet", "pydantic_core", "yaml")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Copies of packages with libraries in C and in Rust."""
    folder = tmp_path / "packages"
    for name in _PACKAGES:
        shutil.copytree(_INSTALLED / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_packages_are_smaller_and_work_as_before(packages: Path) -> None:
    before = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    removed = trim(packages)
    assert removed > before / 2
    assert [
        path for path in packages.rglob("*") if path.suffix in (".c", ".pyx") or path.name == "tests"
    ] == []
    said = subprocess.run(
        [sys.executable, "-c", _USES, str(packages)],
        env={"PYTHONPATH": str(packages)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "refused by Rust: 1\nrefused by C: 2003\n"


def test_a_second_time_changes_nothing(packages: Path) -> None:
    trim(packages)
    assert trim(packages) == 0


@pytest.mark.parametrize(
    "other", [b"", b"no library", b"\x7fELF\x01\x01" + bytes(100), b"\x7fELF\x02\x02" + bytes(100)]
)
def test_what_is_no_library_of_this_kind_stays_as_it_is(other: bytes) -> None:
    assert loaded_part(other) == other


def test_a_folder_of_tests_that_belongs_to_no_package_stays(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "kept.py").touch()
    trim(tmp_path)
    assert (tmp_path / "tests" / "kept.py").exists()
