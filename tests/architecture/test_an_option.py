"""An option of schedules is written down in four places, and the rest is generated: a copy gets one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

_ROOMS = ("runtime", "operator", "crds", "docs", "helm")
_MOST = 8
_VERSIONS = Path("runtime/piko/store/schema/migrations/versions")

_FIELD = """\
    retry_factor: int = field(
        default=2, metadata=column("how many times as long as the last each pause is", POSITIVE)
    )
"""
_SPEC = """\
    factor: Annotated[int, Column("retry_factor")] = Field(
        2, ge=1, le=10, description="How many times as long as the last each pause is."
    )
"""
_REVISION = '''\
"""Add `retry_factor` to `scheduled_job`."""

from sqlalchemy import CheckConstraint, Column, Integer, text

revision, down_revision = "{revision}", "{before}"


def upgrade(steps):
    comment = "how many times as long as the last each pause is"
    limit = CheckConstraint("retry_factor >= 1", name="retry_factor_is_positive")
    column = Column("retry_factor", Integer, nullable=False, server_default=text("2"), comment=comment)
    steps.add_column("scheduled_job", column, limit)
'''
_RESOURCE = """\
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: a}
spec: {jobId: a, schedule: {interval: {every: 5s}}, retry: {factor: 3}}
"""
_MAPPED = """
import sys
from piko_operator.manifests import load_manifests
from piko_operator.mapping import schedule_row
(resource,) = load_manifests(sys.stdin.read(), "a.yaml")
print(schedule_row(resource, owner=None).retry_factor)
"""


def _written(tree: Path, path: str, *, before: str, text: str, within: str = "") -> None:
    """Put `text` before the first `before` that comes after `within`."""
    source = (tree / path).read_text(encoding="utf-8")
    head, found, rest = source.partition(within) if within else ("", "", source)
    assert before in rest, f"{path} has no {before!r}: this test has to say where an option goes now"
    changed = head + found + rest.replace(before, text + before, 1)
    (tree / path).write_text(changed, encoding="utf-8")


def _with_an_option(tree: Path) -> None:
    """What a person writes: the field, its revision, the resource's field, and the code that uses it."""
    _written(
        tree,
        "runtime/piko/model/schedules.py",
        within="class ScheduleOptions:",
        before="\n\n@dataclass",
        text=_FIELD,
    )
    _written(
        tree,
        "operator/piko_operator/schedule_spec.py",
        within="class RetrySpec(",
        before="\n    @model_validator",
        text=_SPEC,
    )
    numbers = re.findall(r'"(\d+\.\d+\.\d+_)(\d+)"', _last_revision(tree))
    release, number = numbers[0]
    revision = _REVISION.format(revision=f"{release}{int(number) + 1:02}", before=f"{release}{number}")
    (tree / _VERSIONS / "r9_9_9_99_scheduled_job_retry_factor.py").write_text(revision, encoding="utf-8")
    jobs = tree / "runtime/piko/catalog/jobs.py"
    source = jobs.read_text(encoding="utf-8")
    assert "retry_backoff_s * 2.0 **" in source
    using = source.replace("retry_backoff_s * 2.0 **", "retry_backoff_s * self.row.retry_factor **")
    jobs.write_text(using, encoding="utf-8")


def _last_revision(tree: Path) -> str:
    named = sorted(path for path in (tree / _VERSIONS).glob("r*.py"))
    return named[-1].read_text(encoding="utf-8")


def _python(tree: Path, *arguments: str, stdin: str = "") -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(tree / room) for room in ("", "runtime", "operator")),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIKO_MYSQL_DSN": f"sqlite+aiosqlite:///{tree}.db",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _changed(tree: Path) -> list[str]:
    files = (path for room in _ROOMS for path in sorted((tree / room).rglob("*")) if path.is_file())
    names = [path.relative_to(tree) for path in files]
    return [
        str(name)
        for name in names
        if not (ROOT / name).is_file() or (ROOT / name).read_bytes() != (tree / name).read_bytes()
    ]


@pytest.mark.usefixtures("programs")
def test_an_option_with_its_test_touches_no_more_than_eight_files(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for room in _ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    _with_an_option(tree)
    _python(tree, "-m", "crds.generate")
    _python(tree, "-m", "docs.generate")
    test = 1
    assert len(_changed(tree)) + test <= _MOST, _changed(tree)
    # It is a column, and the tables are those that the model describes; a resource sets it.
    _python(tree, "-m", "piko", "db", "upgrade")
    _python(tree, "-m", "piko", "db", "check")
    assert _python(tree, "-c", _MAPPED, stdin=_RESOURCE) == "3\n"
    assert "retry_factor" in (tree / "docs/reference/tables.md").read_text(encoding="utf-8")
