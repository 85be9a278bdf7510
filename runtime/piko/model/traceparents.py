"""`traceparent`: one program names to another the trace that its work belongs to (W3C Trace Context)."""

from __future__ import annotations

import re

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?P<ids>(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})")


def traceparent_of(text: str | None) -> str | None:
    """The traceparent that somebody sends along as `text`; None if it is none.

    A malformed one is ignored, as the standard asks for; what a later version of it adds is cut off.
    """
    if text is None:
        return None
    text = text.strip()
    found = _FORM.match(text)
    if found is None or (len(text) > found.end() and (text.startswith("00") or text[found.end()] != "-")):
        return None
    return f"00-{found['ids']}"
