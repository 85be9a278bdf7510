"""`Idempotency-Key`: an act that is sent again because its answer was lost is carried out once.

As the IETF's draft of that header says: the same key with the same request gets the answer of the first; with
another request 422; while the first is in progress 409. Keys are a caller's own, and are kept for a day. An
answer of 500 or more is not kept, for nothing was done. A process that is killed meanwhile leaves its key
locked for a minute; then the request is carried out, whether or not the first had come to its end.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers

from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.identity import Ids, content_hash
from piko.observability.logs import get_logger
from piko.serving.probes import AsgiApp, Message, Receive, Scope, Send
from piko.store.idempotency import IdempotencyKeys, KeyedAnswer, KeyedRequest
from piko.web.bodies import received_again
from piko.web.problems import problem

_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,255})"?')
_MOST_BYTES = 1_048_576
_HEADER = "Idempotency-Key"
_UNKNOWN_MEDIA = "application/json"

KEY_PARAMETER: dict[str, Any] = {
    "name": _HEADER,
    "in": "header",
    "required": False,
    "description": "A request that is sent again with the same key is carried out once.",
    "schema": {"type": "string", "pattern": "^[!#-~]{1,255}$"},
}
"""The header, as the description of the API names it at each POST."""

log = get_logger(__name__)


class Idempotency:
    """Passes a POST that has a key on to `app` once."""

    def __init__(self, app: AsgiApp, *, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._ids = Ids(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get(_HEADER) if scope["type"] == "http" else None
        if given is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        key = _KEY.fullmatch(given.strip())
        if key is None:
            detail = f"header {_HEADER}: expected 1 to 255 visible characters of ASCII, such as a UUID"
            await problem(HTTPStatus.BAD_REQUEST, detail, path=scope["path"])(scope, receive, send)
            return
        body = (await receive()).get("body", b"")  # the guard has read the whole of it
        request = self._request(scope, key[1], body)
        keys = IdempotencyKeys(database=scope["app"].state.database)
        try:
            claimed = await keys.claim(request, now=self._clock.now())
        except DatabaseUnavailableError as error:
            answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), path=scope["path"])
            await answer(scope, receive, send)
            return
        if claimed == "ours":
            await self._carry_out(keys, request, scope, received_again(body, receive), send)
        elif isinstance(claimed, KeyedAnswer):
            await _replay(claimed, send)
        else:
            await _refusal(claimed, scope["path"])(scope, receive, send)

    def _request(self, scope: Scope, key: str, body: bytes) -> KeyedRequest:
        headers = Headers(scope=scope)
        said = (scope["path"], scope["query_string"].decode("latin-1"), headers.get("if-match"))
        return KeyedRequest(
            key_hash=content_hash(scope["caller"].who, key),
            fingerprint=content_hash(*said, body.decode("latin-1")),
            token=self._ids.new(),
        )

    async def _carry_out(
        self, keys: IdempotencyKeys, request: KeyedRequest, scope: Scope, receive: Receive, send: Send
    ) -> None:
        sent: list[Message] = []

        async def held(message: Message) -> None:
            sent.append(message)

        try:
            await self._app(scope, receive, held)
        except Exception:  # the server answers 500
            await self._settle(keys.release(request), scope)
            raise
        await self._settle(_keep(keys, request, sent), scope)
        for message in sent:
            await send(message)

    async def _settle(self, settling: Awaitable[None], scope: Scope) -> None:
        """Say what is known of a key; whether that succeeds changes nothing of the request's own end."""
        try:
            await settling
        except DatabaseUnavailableError as error:
            log.warning("answer_not_kept", path=scope["path"], error=str(error))


async def _keep(keys: IdempotencyKeys, request: KeyedRequest, sent: Sequence[Message]) -> None:
    start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
    status = int(start["status"])
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        await keys.release(request)
        return
    media_type = Headers(raw=start["headers"]).get("content-type", _UNKNOWN_MEDIA)
    text = body.decode(errors="replace") if len(body) <= _MOST_BYTES else None
    await keys.answered(request, KeyedAnswer(status=status, media_type=media_type[:64], body=text))


async def _replay(answer: KeyedAnswer, send: Send) -> None:
    body = (answer.body or "").encode()
    headers = [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"idempotency-replayed", b"true"),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _refusal(claimed: str, path: str) -> AsgiApp:
    if claimed == "other":
        detail = f"this {_HEADER} came with another request before; use a new key for each request"
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, path=path)
    detail = f"a request with this {_HEADER} is in progress; send it again to get its answer"
    return problem(HTTPStatus.CONFLICT, detail, path=path, headers={"Retry-After": "1"})
