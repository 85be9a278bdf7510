"""Posts to the webhook: signed, each within a bounded time, over a connection of its own.

The headers are those of Standard Webhooks (https://www.standardwebhooks.com), so that receivers need not
write the check of a signature themselves. Redirects are not followed: what is posted is for the host that
the settings name.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import h11
from pydantic import SecretStr

from piko.clock import Clock
from piko.errors import SettingsError
from piko.http_connection import connect
from piko.model.webhook_posts import WebhookPost
from piko.observability.redaction import hide, secrets_of
from piko.text import error_text, excerpt, first_line
from piko.webhook_target import WebhookTarget, given_text, parse_keys, parse_target

_LONGEST = 500

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceiver:
    """Whom posts go to, as the settings and their files said last; `tls` is None for plain HTTP."""

    target: WebhookTarget
    keys: Sequence[bytes]
    tls: ssl.SSLContext | None
    secrets: frozenset[str]


class WebhookCalls:
    """Posts to `url`, signed with `key`.

    - `url`, `key`: each itself, or `file:/path`.
    - `ca`: a file with the authorities to trust; None: those of the system.
    - `timeout_s`: how long a post may take, from the connection to the end of the answer.
    """

    def __init__(
        self, *, url: SecretStr, key: SecretStr, ca: Path | None, timeout_s: float, clock: Clock
    ) -> None:
        self._url = url
        self._key = key
        self._ca = ca
        self._timeout_s = timeout_s
        self._clock = clock

    async def receiver(self) -> WebhookReceiver:
        """Whom to post to now: files are read again each time. Raises `SettingsError`."""
        return await asyncio.to_thread(self._read)

    async def trouble_of(self, post: WebhookPost, receiver: WebhookReceiver) -> str | None:
        """Why `receiver` has not accepted `post`, without secrets; None: it has."""
        connection = None
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await connect(
                    receiver.target.host, receiver.target.port, tls=receiver.tls, server="the receiver"
                )
                data = post.body.encode()
                status, answer = await connection.exchange(self._request(post, receiver, data), data)
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except OSError as error:
            return first_line(hide(error_text(error), receiver.secrets), most=_LONGEST)
        finally:
            if connection is not None:
                connection.abort()
        return _refusal(status, answer, receiver)

    def _request(self, post: WebhookPost, receiver: WebhookReceiver, data: bytes) -> h11.Request:
        timestamp = str(int(self._clock.now().timestamp()))
        headers = [
            ("Host", receiver.target.authority),
            ("User-Agent", "piko"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(data))),
            ("Connection", "close"),
            ("webhook-id", post.post_id),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature(receiver.keys, post.post_id, timestamp, data)),
        ]
        return h11.Request(method="POST", target=receiver.target.path, headers=headers)

    def _read(self) -> WebhookReceiver:
        url = given_text(self._url.get_secret_value(), source="webhook_url")
        key = given_text(self._key.get_secret_value(), source="webhook_key")
        target = _parsed(parse_target, url, "webhook_url")
        return WebhookReceiver(
            target=target,
            keys=_parsed(parse_keys, key, "webhook_key"),
            tls=_trusting(self._ca) if target.is_tls else None,
            secrets=secrets_of(url, target.path, *key.split()),
        )


def signature(keys: Sequence[bytes], post_id: str, timestamp: str, data: bytes) -> str:
    """The header `webhook-signature`: one `v1,…` for each of `keys`."""
    signed = b".".join((post_id.encode(), timestamp.encode(), data))
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def _parsed(parse: Callable[[str], _T], text: str, setting: str) -> _T:
    try:
        return parse(text)
    except SettingsError as error:
        raise SettingsError(f"setting `{setting}` (not shown, it is a secret): {error}") from None


def _trusting(ca: Path | None) -> ssl.SSLContext:
    """Raises `SettingsError` where the file of authorities cannot be used."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # an SSLError is one
        raise SettingsError(
            f"setting `webhook_ca` = {ca} cannot be used: {error}; "
            "name a file with the PEM certificates of the authorities to trust"
        ) from None


def _refusal(status: int, answer: bytes, receiver: WebhookReceiver) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"it answered {status}; redirects are not followed, set webhook_url to where it leads"
    text = hide(excerpt(answer.decode(errors="replace")), receiver.secrets)
    said = first_line(text, most=_LONGEST)
    return f"it answered {status}: {said}" if said else f"it answered {status}"
