"""Filters as a form and a link hold them: what a person chose stands in the address, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel

from piko.serving.probes import AsgiApp, Receive, Scope, Send
from piko.web.views import links

_SAID = {"text": "the id contains", "since": "the due time is from", "until": "the due time is before"}
_PLACES = ("cursor", "limit", "total", "sort")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The filters of a list as pairs of name and value."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, query: BaseModel) -> Form:
        """What `query` holds beyond its defaults, without the place in the list."""
        pairs: list[tuple[str, str]] = []
        for name, value in query.model_dump(exclude_defaults=True).items():
            if name != "cursor":
                values = value if isinstance(value, list | tuple) else [value]
                pairs += [(name, _text(item)) for item in values]
        return cls(pairs=tuple(pairs))

    @property
    def filtered(self) -> bool:
        """Whether a filter leaves something out."""
        return any(name not in _PLACES for name, _ in self.pairs)

    @property
    def said(self) -> str:
        """The filters in words."""
        chosen = [
            f"{_SAID.get(name, f'{name} is')} {value}" for name, value in self.pairs if name not in _PLACES
        ]
        return " and ".join(chosen) or "there is no filter"

    def link(self, path: str, **more: str) -> str:
        """The list with these filters, and `more`."""
        return links.with_query(path, [*self.pairs, *more.items()])


class WithoutEmpty:
    """Takes a field of a form that was left empty as not said: a browser sends it as an empty text."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["query_string"]:
            kept = [
                (name, value) for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if value
            ]
            scope = {**scope, "query_string": urlencode(kept).encode()}
        await self._app(scope, receive, send)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)
