"""`python -m website FOLDER` builds the site into a folder."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from website.build import build
from website.pages import write

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch))
        sys.exit(build(Path(scratch), Path(sys.argv[1])))
