"""What a call of the API server ends with if it is not carried out."""

from __future__ import annotations

import json

from piko.errors import PikoError
from piko.text import excerpt

REPAIR_NAMESPACE = (
    "create the namespace and the operator's Role in it, or take it out of PIKO_OPERATOR_NAMESPACES (in the "
    "chart operator.namespaces)"
)
"""What repairs a namespace whose resources the operator is to follow, and may not list or watch."""

_REASON_LIMIT = 1_000


class ClusterError(PikoError):
    """The API server refused or failed a call; `status` is the HTTP status, or 0 if it was not reached."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    @classmethod
    def answered(cls, method: str, path: str, *, status: int, text: bytes) -> ClusterError:
        """Of an answer that is no success, with what the API server says in it."""
        try:
            message = str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            message = text.decode(errors="replace")
        return cls(f"{method} {path}: {status} {excerpt(message, limit=_REASON_LIMIT)}", status=status)
