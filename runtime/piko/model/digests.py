"""What tells that a row, or a table, was edited."""

from __future__ import annotations

from datetime import datetime

Digest = tuple[int, datetime]
"""What changes with every edit of a row: its version and when it was written."""


Mark = tuple[object, ...]
"""What changes with every edit of a table. Two edits that cancel out are found by `read_digests` alone."""
