"""Where the webhook is posted to, and the keys that sign its posts: what valid ones look like.

Both settings are secrets: a URL often holds the right to post to it. `file:/path` in place of either names a
file that holds it, such as one that a Secret mounts; it is read again for each post, so that neither a new
key nor a new URL needs a restart.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from piko.errors import SettingsError

URL_EXAMPLE = "https://alerts.example.com/piko"

_IN_FILE = "file:"
_MOST_BYTES = 65_536
_ENCODED = "whsec_"
_SHORTEST_KEY = 16
_MOST_KEYS = 4
_MAKE_ONE = 'make one with `echo "whsec_$(openssl rand -base64 32)"`'
_DEFAULT_PORTS = {"https": 443, "http": 80}
_PLAIN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """A URL in parts: `host` without brackets, `path` with its query."""

    host: str
    port: int
    path: str
    is_tls: bool

    @property
    def authority(self) -> str:
        """Host and port, for people and for the header `Host`; the rest of the URL may be secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def given_text(setting: str, *, source: str) -> str:
    """What a setting holds, or the file that it names, without white space around it.

    Raises `SettingsError` for a file that cannot be read; the text is in no message.
    """
    text = setting.strip()
    if not is_in_file(text):
        return text
    path = Path(text.removeprefix(_IN_FILE))
    wrong = f"setting `{source}` = {_IN_FILE}{path}"
    if not path.is_absolute():
        raise SettingsError(f"{wrong}: expected a path from the root, for example file:/etc/piko/webhook/url")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise SettingsError(f"{wrong}: longer than 64 KiB; expected one line")
        return content.decode().strip()
    except OSError as error:
        raise SettingsError(
            f"{wrong} cannot be read: {error.strerror}; name a file that this process may read"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{wrong}: not text in UTF-8") from None


def is_in_file(setting: str) -> bool:
    """Whether a setting names a file."""
    return setting.strip().startswith(_IN_FILE)


def parse_target(url: str) -> WebhookTarget:
    """The parts of `url`. Raises `SettingsError` that says why it is none, without the URL itself."""
    expected = f"expected https://HOST/PATH, for example {URL_EXAMPLE}"
    if not _PLAIN.fullmatch(url):
        raise SettingsError(f"empty, or with a character that is not printable ASCII; {expected}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError(f"not a URL; {expected}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise SettingsError(f"it does not begin with https:// (or http://) and a host; {expected}")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("it names a user; leave USER:PASSWORD@ out, and check the signature instead")
    return WebhookTarget(
        host=parts.hostname,
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        is_tls=parts.scheme == "https",
    )


def parse_keys(text: str) -> tuple[bytes, ...]:
    """The keys in `text`, separated by white space: each signs, so that a receiver may know either of two.

    A key is `whsec_` and base64, as Standard Webhooks has it, or any text of 16 characters or more. Raises
    `SettingsError` that says why one cannot sign, without the key itself.
    """
    keys = text.split()
    if not 1 <= len(keys) <= _MOST_KEYS:
        raise SettingsError(f"it holds {len(keys)} keys; expected one, or up to {_MOST_KEYS} in a change")
    return tuple(map(_key, keys))


def _key(key: str) -> bytes:
    is_encoded = key.startswith(_ENCODED)
    try:
        found = base64.b64decode(key.removeprefix(_ENCODED), validate=True) if is_encoded else key.encode()
    except binascii.Error:
        raise SettingsError(f"what follows whsec_ is not base64; {_MAKE_ONE}") from None
    if len(found) < _SHORTEST_KEY:
        raise SettingsError(
            f"too short to sign with: {len(found)} bytes, expected {_SHORTEST_KEY} or more; {_MAKE_ONE}"
        )
    return found
