"""Finding secrets, and hiding them in texts for people."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, SecretBytes, SecretStr

SHORTEST_SECRET = 4
"""Shorter values do not count as secrets, because they occur in any text."""


_HIDDEN = "***"


def secrets_of(*values: object) -> frozenset[str]:
    """The secret texts in `values`: every value in a JSON document, every secret of a model."""
    return frozenset(text for value in values for text in _texts(value) if len(text) >= SHORTEST_SECRET)


def model_secrets(value: Any) -> frozenset[str]:
    """The texts of fields that a model declares as `SecretStr` or `SecretBytes`, at any depth."""
    return secrets_of(*_declared(value))


def hide(text: str, secrets: Collection[str]) -> str:
    """`text` with `***` in place of each of `secrets`, including their forms in a repr, JSON or a URL."""
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    while True:
        hidden = text
        for form in forms:
            hidden = hidden.replace(form, _HIDDEN)
        if hidden == text:
            return text
        text = hidden  # removing a secret may form another one; the text gets shorter each time


def longest_form(secrets: Collection[str]) -> int:
    """The length of the longest form in which one of `secrets` may be written."""
    return max((len(form) for secret in secrets for form in _forms(secret)), default=0)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, bytes):
        yield value.decode(errors="backslashreplace")
    elif isinstance(value, str):
        yield value
        if "\n" in value:  # a multi-line key: an error may show one of its lines
            yield from (line for line in value.splitlines() if len(line) >= 2 * SHORTEST_SECRET)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _declared(value: Any) -> Iterator[object]:
    if isinstance(value, SecretStr | SecretBytes):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _declared(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _declared(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _declared(item)


def _forms(secret: str) -> Iterable[str]:
    """The forms in which a secret may be written."""
    yield secret
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    encodable = secret.encode(errors="backslashreplace").decode()
    yield from (quote(encodable), quote(encodable, safe=""), quote_plus(encodable))
