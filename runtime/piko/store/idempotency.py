"""`idempotency_key`: which requests are being answered, and what was answered to others.

A request is inserted with a token of its own. Where the key is there already, the row says what is to be
done: replay its answer, refuse another request under the same key, or wait. A row without an answer belongs
to its token for a minute; after that its process was killed, and the next request takes it over by a
compare-and-set on the token. An answer is kept for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, and_, delete, select, update

from piko.model.fences import Fence
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.schema.tables.idempotency import idempotency_key
from piko.store.upsert import upsert

KEPT_FOR = timedelta(days=1)
PENDING_FOR = timedelta(minutes=1)
_COLUMNS = idempotency_key.c


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """A request with a key: both as hashes, the latter with its caller; `token` is this try's own."""

    key_hash: str
    fingerprint: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedAnswer:
    """What was answered; `body` is None if it was too large to keep."""

    status: int
    media_type: str
    body: str | None


Claimed = KeyedAnswer | Literal["ours", "pending", "other"]
"""The answer to replay; or the request is to be carried out, is being carried out, or is another one."""


class IdempotencyKeys:
    """Claims keys, and keeps answers."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def claim(self, request: KeyedRequest, *, now: datetime) -> Claimed:
        """Take the key for `request`, or say what is known of it."""
        row = {
            "key_hash": request.key_hash,
            "fingerprint": request.fingerprint,
            "token": request.token,
            "begun_at": now,
        }
        of_it = _COLUMNS.key_hash == request.key_hash
        async with self._database.statements() as connection:
            await connection.execute(upsert(self._database, idempotency_key, update=()), [row])
            found = (await connection.execute(select(idempotency_key).where(of_it))).first()
            if found is None:  # pruned in between
                return "pending"
            if found.token == request.token:
                return "ours"
            age = now - found.begun_at
            if age >= KEPT_FOR or (found.status is None and age >= PENDING_FOR):
                free = {**row, "status": None, "media_type": None, "answer": None}
                taken = await connection.execute(
                    update(idempotency_key).where(of_it, _COLUMNS.token == found.token).values(free)
                )
                return "ours" if taken.rowcount else "pending"
        if found.fingerprint != request.fingerprint:
            return "other"
        if found.status is None:
            return "pending"
        return KeyedAnswer(status=found.status, media_type=found.media_type, body=found.answer)

    async def answered(self, request: KeyedRequest, answer: KeyedAnswer) -> None:
        """Keep the answer to a request that is ours."""
        values = {"status": answer.status, "media_type": answer.media_type, "answer": answer.body}
        async with self._database.statements() as connection:
            await connection.execute(update(idempotency_key).where(_is(request)).values(values))

    async def release(self, request: KeyedRequest) -> None:
        """Nothing was done: the next request with the key is carried out."""
        async with self._database.statements() as connection:
            await connection.execute(delete(idempotency_key).where(_is(request)))

    async def prune(self, before: datetime, fence: Fence, *, limit: int) -> int:
        """Forget at most `limit` keys from before `before`; how many. Raises `FencedError`."""
        old = select(_COLUMNS.key_hash).where(_COLUMNS.begun_at < before).limit(limit)
        async with self._database.statements() as connection:
            keys = list((await connection.execute(old)).scalars())
        if not keys:
            return 0
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            stale = delete(idempotency_key).where(_COLUMNS.key_hash.in_(keys), _COLUMNS.begun_at < before)
            return (await connection.execute(stale)).rowcount


def _is(request: KeyedRequest) -> ColumnElement[bool]:
    return and_(_COLUMNS.key_hash == request.key_hash, _COLUMNS.token == request.token)
