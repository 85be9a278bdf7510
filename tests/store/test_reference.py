"""The page on the database says what the tables are."""

from __future__ import annotations

from piko.store.schema.tables import metadata
from tests.store.reference import reference, written


def test_the_page_describes_the_tables_as_they_are() -> None:
    assert written() == reference(), "write it anew: python -m tests.store.reference"


def test_every_column_says_what_it_is_for() -> None:
    silent = [
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if not column.comment
    ]
    assert silent == []
