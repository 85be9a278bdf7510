"""Events as lines for people, without the secrets of their run."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from piko.observability.bindings import RUN
from piko.observability.redaction import hide, longest_form
from piko.text import excerpt

_OWN = frozenset({"event", "level", "timestamp", "logger", "exception", "stack", *RUN})
_CUT = re.compile(r"… \d+ bytes …")
_PRINTED = ("stdout", "stderr")
_QUOTED = (" ", '"', "\n", "\t", "=")
"""Characters because of which a text is shown as JSON."""
_ENCODER = json.JSONEncoder(ensure_ascii=False)


def readable(lines: Collection[str], secrets: Collection[str]) -> list[str]:
    """The JSON `lines` as lines for people; a line that goes on is indented where it does."""
    texts = [_text(line) for line in lines]
    if secrets and texts:
        # All at once: what costs is to look for a secret, not the length of the text.
        hidden = hide("\0".join(texts), secrets).split("\0")
        reach = longest_form(secrets)
        texts = [_without_rests(text, reach) if _CUT.search(text) else text for text in hidden]
    return [text.replace("\n", "\n  ") for text in texts]


def _without_rests(text: str, reach: int) -> str:
    """`text` without what stands beside a cut, which may be one half of a secret."""
    return re.sub(rf".{{0,{reach}}}(… \d+ bytes …).{{0,{reach}}}", r"\1", text, flags=re.DOTALL)


def _text(line: str) -> str:
    """One event for people: `2026-11-29 07:28:19.123Z info     rows_read rows=10`."""
    try:
        event = json.loads(line)
    except ValueError:
        event = {"event": line}
    stamp = str(event.get("timestamp", ""))
    moment = f"{stamp[:10]} {stamp[11:23]}Z" if len(stamp) > 23 else stamp
    printed = event.get("logger") in _PRINTED
    level = "print" if printed else str(event.get("level", ""))
    facts = "".join(
        f" {name}={_value(value)}"
        for name, value in event.items()
        if name not in _OWN and (name != "message" or value != event.get("event"))
    )
    more = "".join(f"\n{event[name]}" for name in ("exception", "stack") if event.get(name))
    return excerpt(f"{moment} {level:<8} {event.get('event', '')}{facts}{more}".rstrip())


def _value(value: object) -> str:
    if isinstance(value, str) and value and not any(character in value for character in _QUOTED):
        return value
    return _ENCODER.encode(value)
