"""The documents of a YAML or JSON text, as kubectl reads them, within bounds and with their lines.

kubectl splits a text at lines that begin with `---` and parses each piece separately, and so does this
module: an invalid piece does not affect the others. A piece is parsed event by event without recursion, and
the values of an alias are counted where it is used. A short text that would expand to millions of values, or
nest too deeply, is refused before it is built.

This module is stricter than kubectl where kubectl silently changes the input: a key given twice, a number
beyond 64 bits, a lone surrogate.
"""

from __future__ import annotations

from collections.abc import Iterator

from piko_operator.documents.from_json import json_documents
from piko_operator.documents.from_yaml import yaml_documents
from piko_operator.documents.nodes import MOST_DEPTH, MOST_VALUES, DocumentError, Node
from piko_operator.documents.to_yaml import yaml_text

__all__ = ["MOST_DEPTH", "MOST_VALUES", "DocumentError", "Node", "read_documents", "yaml_text"]


def read_documents(text: str) -> Iterator[Node | DocumentError]:
    """Each non-empty document of `text`, or its error, in order."""
    if not text.lstrip().startswith("{"):
        yield from yaml_documents(text)
        return
    found = list(yaml_documents(text))
    if any(isinstance(item, DocumentError) for item in found):
        found = json_documents(text) or found
    yield from found
