"""Migrations are one chain: two with the same number, or one too few, are seen before a database is asked."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from piko.store.schema import migrations

_VERSIONS = Path(str(resources.files(migrations))) / "versions"
_FIRST = "r0_1_0_01_first.py", 'revision = "0.1.0_01"\ndown_revision = None\n'
_SECOND = "r0_1_0_02_second.py", 'revision = "0.1.0_02"\ndown_revision = "0.1.0_01"\n'


def test_the_migrations_of_this_release_are_one_chain() -> None:
    assert list(_faults(_VERSIONS)) == []


def test_a_chain_has_no_fault(tmp_path: Path) -> None:
    _write(tmp_path, _FIRST, _SECOND)
    assert list(_faults(tmp_path)) == []


def test_two_migrations_with_the_same_number_are_named(tmp_path: Path) -> None:
    other = _SECOND[0].replace("second", "other")
    _write(tmp_path, _FIRST, _SECOND, (other, _SECOND[1]))
    assert list(_faults(tmp_path)) == [f"{other} and {_SECOND[0]} have the same number"]


def test_a_second_head_is_named(tmp_path: Path) -> None:
    third = "r0_1_0_03_third.py", 'revision = "0.1.0_03"\ndown_revision = "0.1.0_01"\n'
    _write(tmp_path, _FIRST, _SECOND, third)
    assert list(_faults(tmp_path)) == [f"{third[0]} comes after '0.1.0_01', expected '0.1.0_02'"]


def test_a_gap_is_named(tmp_path: Path) -> None:
    fourth = "r0_1_0_04_fourth.py", 'revision = "0.1.0_04"\ndown_revision = "0.1.0_02"\n'
    _write(tmp_path, _FIRST, _SECOND, fourth)
    assert list(_faults(tmp_path)) == [f"{fourth[0]} comes after {_SECOND[0]}: a number is missing"]


def test_a_migration_that_is_not_named_after_its_revision_is_named(tmp_path: Path) -> None:
    name = "r0_1_0_03_third.py"
    _write(tmp_path, _FIRST, _SECOND, (name, 'revision = "0.1.0_04"\ndown_revision = "0.1.0_02"\n'))
    assert list(_faults(tmp_path)) == [f"{name} is revision '0.1.0_04', expected '0.1.0_03'"]


def _write(folder: Path, *modules: tuple[str, str]) -> None:
    for name, text in modules:
        (folder / name).write_text(text)


def _faults(folder: Path) -> Iterator[str]:
    """What keeps the modules of `folder` from being one chain with one head, by their names and texts."""
    before: tuple[tuple[int, ...], str, str] | None = None
    for number, file in sorted((_number(file.name), file) for file in folder.glob("r[0-9]*.py")):
        values = _values(file)
        expected = ".".join(map(str, number[:3])) + f"_{number[3]:02}"
        after = None if before is None else before[2]
        if before is not None and before[0] == number:
            yield f"{before[1]} and {file.name} have the same number"
            continue
        if values["revision"] != expected:
            yield f"{file.name} is revision {values['revision']!r}, expected {expected!r}"
        if values["down_revision"] != after:
            yield f"{file.name} comes after {values['down_revision']!r}, expected {after!r}"
        elif not _follows(number, None if before is None else before[0]):
            yield f"{file.name} comes after {'nothing' if before is None else before[1]}: a number is missing"
        before = number, file.name, expected


def _number(name: str) -> tuple[int, ...]:
    """Release and number in it: `r0_1_0_86_backfill.py` is 0, 1, 0 and 86."""
    return tuple(int(part) for part in name.removeprefix("r").split("_", 4)[:4])


def _follows(number: tuple[int, ...], before: tuple[int, ...] | None) -> bool:
    """Whether nothing is left out between the two; each release counts from 1."""
    same_release = before is not None and before[:3] == number[:3]
    return number[3] == (before[3] + 1 if before is not None and same_release else 1)


def _values(file: Path) -> dict[str, object]:
    """`revision` and `down_revision` as the module sets them, without running it."""
    found: dict[str, object] = {}
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Constant):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found.update({ast.unparse(target): statement.value.value for target in targets})
    return found
