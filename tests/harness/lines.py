"""Lines of a file that another process is writing."""

from pathlib import Path


def whole_lines(path: Path) -> list[str]:
    """Those that have ended, in order; none as long as there is no such file.

    A reader can see a part of a write, even of one that appends a whole line with a single `write`:
    POSIX lets only writes to a pipe be all or nothing. What follows the last end of line is yet to come.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return whole.split("\n") if whole else []
