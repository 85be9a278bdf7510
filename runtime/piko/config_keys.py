"""Keys that encrypt the secret parts of configs before the database has them.

An encrypted secret part is a JSON object, as the column wants one: `{"$encrypted": "v1:KEY:TEXT"}`, where KEY
identifies the key. It is bound to its job: copied into the row of another, it cannot be read. The cipher is
AES-SIV (RFC 5297), which needs no nonce: one content of a job under one key is one text. So what is encrypted
twice does not look edited, neither to the change log nor to another replica.

A secret part that is plain is read as it is: people write it by SQL, and did so before there was a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

EXPECTED = (
    "expected 32 random bytes in base64, as `openssl rand -base64 32` prints them; several such keys are "
    "separated by commas, of which the first encrypts and each decrypts"
)
_BYTES = 32
_MOST = 10
_MARK = "$encrypted"
_FORM = re.compile(r"v1:([0-9a-f]{8}):([A-Za-z0-9_=-]+)")
_PURPOSE = b"piko job_config.secret_json v1"
_LOST = "if that key is lost, write secret_json again"


@dataclass(frozen=True, slots=True)
class SecretPart:
    """The secret part of a config as it was read; `unreadable` is why it is still encrypted."""

    text: str | None = field(repr=False)
    unreadable: str | None = None


class ConfigKeys:
    """The keys of this process; the first encrypts, each decrypts. Without any, nothing is encrypted."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._ciphers = {_id_of(key): _cipher(key) for key in keys}
        self._first = next(iter(self._ciphers), None)

    @property
    def ids(self) -> tuple[str, ...]:
        """What the keys are called in messages and in what they encrypted; says nothing of their content."""
        return tuple(self._ciphers)

    def seal(self, job_id: str, secret_json: str | None) -> str | None:
        """`secret_json` of `job_id` as the database is to hold it; what is encrypted stays as it is."""
        if secret_json is None or self._first is None or _sealed(secret_json) is not None:
            return secret_json
        text = self._ciphers[self._first].encrypt(secret_json.encode(), [_PURPOSE, job_id.encode()])
        sealed = f"v1:{self._first}:{base64.urlsafe_b64encode(text).decode()}"
        return json.dumps({_MARK: sealed}, separators=(",", ":"))

    def unseal(self, job_id: str, secret_json: str | None) -> SecretPart:
        """What the database holds as `secret_json` of `job_id`, as people have written it."""
        from cryptography.exceptions import InvalidTag

        sealed = None if secret_json is None else _sealed(secret_json)
        if sealed is None:
            return SecretPart(secret_json)
        form = _FORM.fullmatch(sealed)
        if form is None:
            return SecretPart(secret_json, f"its secret part has a damaged {_MARK}; write secret_json again")
        called = form[1]
        if called not in self._ciphers:
            return SecretPart(secret_json, self._lacking(called))
        try:
            text = base64.b64decode(form[2], altchars=b"-_", validate=True)
            plain = self._ciphers[called].decrypt(text, [_PURPOSE, job_id.encode()])
        except (InvalidTag, binascii.Error, ValueError):
            return SecretPart(
                secret_json,
                f"its secret part was encrypted with the key {called}, but for another job, or is damaged; "
                "write secret_json again",
            )
        return SecretPart(plain.decode())

    def is_sealed(self, secret_json: str) -> bool:
        """Whether `secret_json` is encrypted, with the first of the keys."""
        sealed = _sealed(secret_json)
        return sealed is not None and self._first is not None and sealed.startswith(f"v1:{self._first}:")

    def _lacking(self, called: str) -> str:
        has = f"only {', '.join(self._ciphers)}" if self._ciphers else "none"
        return (
            f"its secret part is encrypted with the key {called}, and this process has {has}; "
            f"add that key to PIKO_CONFIG_KEY, or, {_LOST}"
        )


NO_KEYS = ConfigKeys()
"""Encrypts nothing."""


def read_config_keys(text: str) -> ConfigKeys:
    """The keys in the setting `config_key`. Raises `ValueError`, which says nothing of their content."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > _MOST:
        raise ValueError(f"has {len(parts)} keys; expected at most {_MOST}")
    return ConfigKeys([_key(part, number) for number, part in enumerate(parts, start=1)])


def _key(text: str, number: int) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"key {number} is not base64; {EXPECTED}") from None
    if len(key) != _BYTES:
        raise ValueError(f"key {number} has {len(key)} bytes; {EXPECTED}")
    return key


def _sealed(secret_json: str) -> str | None:
    """What is encrypted in `secret_json`; None if it is plain."""
    if _MARK not in secret_json:
        return None
    try:
        found = json.loads(secret_json)
    except (ValueError, RecursionError):
        return None  # what reads the object says so
    if not isinstance(found, dict) or found.keys() != {_MARK} or not isinstance(found[_MARK], str):
        return None
    return str(found[_MARK])


def _id_of(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=4, person=b"piko-config-key").hexdigest()


def _cipher(key: bytes) -> AESSIV:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV
    from cryptography.hazmat.primitives.hashes import SHA512
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESSIV(HKDF(algorithm=SHA512(), length=64, salt=None, info=_PURPOSE).derive(key))
