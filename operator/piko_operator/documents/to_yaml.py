"""Values as YAML that every reader reads alike: kubectl's by YAML 1.1 and others by 1.2.

Only a text that no reader takes for anything else stands without quotes: `1e3` is a number to one of them and
a text to another, and so are `010`, `yes` and `12:30`.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_WORDS = r"[A-Za-z][A-Za-z0-9_.@/-]*( [A-Za-z0-9_.@/-]+)*"
_DURATION = r"([0-9]+([.][0-9]+)?(ms|s|m|h))+"
_PLAIN = re.compile(f"{_WORDS}|{_DURATION}")
_NO_TEXT = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))
_ONE_LINE = 10_000


def yaml_text(value: Any) -> str:
    """The JSON `value` as one document, its keys in their order, without the last line's end."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_ONE_LINE)
    return text.rstrip("\n")


class _Dumper(yaml.SafeDumper):
    """As PyYAML writes it, but for texts."""

    def ignore_aliases(self, _: Any) -> bool:
        return True

    def a_text(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=_style(data))


def _style(text: str) -> str | None:
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT:
        return None
    return "'" if text.isprintable() else '"'  # what ends a line is escaped


_Dumper.add_representer(str, _Dumper.a_text)
