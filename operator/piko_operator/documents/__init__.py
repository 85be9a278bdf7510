"""The documents of a YAML or JSON text, as kubectl reads them, within bounds and with their lines.

kubectl cuts a text at lines that begin with `---` and reads each piece by itself; so does this, and one piece
that cannot be read costs the others nothing. A piece is read event by event without recursion, and what
an alias stands for is counted where it is used: a text of a few lines that would grow to millions of values,
or nest deeper than anything behind it can follow, is refused before it is built.

Stricter than kubectl, because it would change in silence what was written: a key given twice, a number beyond
64 bits, half of a surrogate pair.
"""

from __future__ import annotations

from collections.abc import Iterator

from piko_operator.documents.from_json import json_documents
from piko_operator.documents.from_yaml import yaml_documents
from piko_operator.documents.nodes import MOST_DEPTH, MOST_VALUES, DocumentError, Node

__all__ = ["MOST_DEPTH", "MOST_VALUES", "DocumentError", "Node", "read_documents"]


def read_documents(text: str) -> Iterator[Node | DocumentError]:
    """Each document of `text` that is not empty, or why it cannot be read, in order."""
    if not text.lstrip().startswith("{"):
        yield from yaml_documents(text)
        return
    found = list(yaml_documents(text))
    if any(isinstance(item, DocumentError) for item in found):
        found = json_documents(text) or found
    yield from found
