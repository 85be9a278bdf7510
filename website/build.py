"""Sources made into a site."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def build(source: Path, site: Path) -> int:
    """Build the Markdown of `source` into the folder `site`, which is emptied first.

    Returns 0, or 1 if Sphinx warned of anything, such as a link that leads nowhere; it prints what and where.
    """
    shutil.rmtree(site, ignore_errors=True)
    with tempfile.TemporaryDirectory() as trees:
        places = ["-c", str(Path(__file__).parent), "-d", trees, str(source), str(site)]
        options = ["--fail-on-warning", "--nitpicky", "--quiet", "-b", "html"]
        return subprocess.run([sys.executable, "-m", "sphinx", *options, *places], check=False).returncode
