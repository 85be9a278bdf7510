"""Digests: values that change whenever a row, or a table, is edited."""

from __future__ import annotations

from datetime import datetime

Digest = tuple[int, datetime]
"""Of a row: its version, and when it was written last."""

Mark = tuple[object, ...]
"""Of a whole table: a checksum.

Two edits that cancel each other out show in the digests of the rows alone.
"""
