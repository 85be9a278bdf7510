"""What others wrote is what they published, and a page serves nothing else of theirs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_FOLDERS = (_ROOT / "runtime/piko/web/static", _ROOT / "tests/harness/axe")


@pytest.mark.parametrize("folder", _FOLDERS, ids=lambda folder: folder.name)
def test_each_vendored_script_has_the_checksum_that_is_written_down(folder: Path) -> None:
    said = (folder / "VENDORED.md").read_text(encoding="utf-8")
    scripts = sorted(folder.glob("*.min.js"))
    assert scripts
    for script in scripts:
        assert script.name in said
        assert hashlib.sha256(script.read_bytes()).hexdigest() in said
