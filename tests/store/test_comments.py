"""The tables say what they are for: `piko db dump` shows it, and so does the reference in the docs."""

from __future__ import annotations

from piko.store.schema.tables import metadata


def test_every_column_says_what_it_is_for() -> None:
    silent = [
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if not column.comment
    ]
    assert silent == []
