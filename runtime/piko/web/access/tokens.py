"""`web_access = token`: tokens of viewers and operators, kept as hashes in files that a Secret provides.

`web_tokens_dir` has the files `viewer` and `operator`. Each line is a name and the SHA-256 of a token in hex;
the name is what `change_log` says. A token is long and random, so a fast hash keeps it: who reads the Secret
cannot use what is in it. The files are read again when they change, so a token that is removed from the
Secret is refused as soon as the kubelet has renewed the volume.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers

from piko.errors import SettingsError
from piko.observability.logs import get_logger
from piko.web.access.roles import UNKNOWN, Caller, Role, bearer

_LINE = re.compile(r"(\S{1,200})\s+([0-9a-f]{64})")
_FILES = {"viewer": Role.VIEWER, "operator": Role.OPERATOR}
_EXPECTED = "expected a name and the SHA-256 of a token: `printf %s TOKEN | sha256sum` prints it"

Known = Mapping[str, tuple[str, Role]]
"""By hash: whose it is, and the role that it gives."""

log = get_logger(__name__)


class Tokens:
    """Knows callers by the token that they send."""

    def __init__(self, *, folder: Path | None) -> None:
        if folder is None:
            raise SettingsError(
                'setting `web_access` = "token" needs `web_tokens_dir`: set PIKO_WEB_TOKENS_DIR to the '
                "folder with the files `viewer` and `operator`"
            )
        self._folder = folder
        self._stamps: object = None
        self._known: Known = {}

    async def caller(self, headers: Headers, _client: str) -> Caller:
        token = bearer(headers)
        if token is None:
            why = "send a token as `Authorization: Bearer …` or as `Piko-Token`"
            return Caller(who=UNKNOWN, role=Role.NOBODY, why_not=why)
        digest = hashlib.sha256(token.encode()).hexdigest()
        found = None
        for known, whose in (await asyncio.to_thread(self._read)).items():
            if hmac.compare_digest(known, digest):  # each is compared, whichever it is
                found = whose
        if found is None:
            return Caller(who=UNKNOWN, role=Role.NOBODY, why_not="the token is not known, or was revoked")
        return Caller(who=found[0], role=found[1], why_not="the token is a viewer's; an operator's may act")

    async def close(self) -> None:
        pass

    def _read(self) -> Known:
        paths = {self._folder / name: role for name, role in _FILES.items()}
        stamps = [_stamp(path) for path in paths]
        if stamps != self._stamps:
            known: dict[str, tuple[str, Role]] = {}
            for path, role in paths.items():
                known.update(_tokens_in(path, role))
            self._known, self._stamps = known, stamps
        return self._known


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _tokens_in(path: Path, role: Role) -> dict[str, tuple[str, Role]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, tuple[str, Role]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            log.error("token_line_unusable", file=str(path), line=number, expected=_EXPECTED)
            continue
        found[match[2]] = (match[1], role)
    return found
