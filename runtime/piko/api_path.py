"""Paths of the Kubernetes API.

A name that somebody else wrote must never choose another path than the one it is put into. Quoting alone does
not do it: HTTP clients resolve `..` before they send, and the API server reads `%2F` as a slash. So what the
API server itself takes for no name (client-go's rule) is refused, and all the rest is quoted in full.
"""

from __future__ import annotations

from urllib.parse import quote


def api_path(*segments: str) -> str:
    """The path of `segments`, each of which stays one segment. Raises `ValueError` that names a bad one."""
    for segment in segments:
        if segment in ("", ".", "..") or "/" in segment or "%" in segment:
            raise ValueError(
                f"{segment[:80]!r} cannot be part of a path of the Kubernetes API; "
                "expected a name that is not empty, . or .. and holds no / and no %"
            )
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)
