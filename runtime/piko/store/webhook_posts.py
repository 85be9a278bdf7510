"""`webhook_post`: what waits to be posted; and `webhook_announcement`: what was put there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update

from piko.model.announcements import Announcement
from piko.model.fences import Fence
from piko.model.webhook_posts import WaitingPost, WebhookPost
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.schema.tables.webhook_posts import webhook_announcement, webhook_post
from piko.store.upsert import insert_rows, write_rows

_post, _said = webhook_post.c, webhook_announcement.c


class WebhookPostStore:
    """Reads and writes what waits; every write is refused once another replica leads."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def queue(
        self,
        posts: Sequence[WebhookPost],
        fence: Fence,
        *,
        begun: Sequence[Announcement],
        ended: Sequence[Announcement],
    ) -> None:
        """Put `posts` there, and with them what has `begun` and `ended`: all, or nothing.

        Raises `FencedError`.
        """
        rows = [
            {
                "post_id": post.post_id, "job_id": post.job_id, "event": post.event, "body": post.body,
                "created_at": post.created_at,
            }
            for post in posts
        ]  # fmt: skip
        said = [{"job_id": row.job_id, "kind": row.kind.value, "since": row.since} for row in begun]
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await write_rows(connection, self._database, webhook_announcement, said, update=("since",))
            for row in ended:
                over = delete(webhook_announcement).where(
                    _said.job_id == row.job_id, _said.kind == row.kind.value
                )
                await connection.execute(over)
            await insert_rows(connection, webhook_post, rows)

    async def count(self) -> int:
        """How many posts wait."""
        async with self._database.statements() as connection:
            return int(
                (await connection.execute(select(func.count()).select_from(webhook_post))).scalar_one()
            )

    async def waiting(self) -> list[WaitingPost]:
        """What waits, oldest first, without its bodies."""
        columns = (_post.post_id, _post.job_id, _post.created_at, _post.attempts, _post.next_try_at)
        oldest_first = select(*columns).order_by(_post.created_at, _post.post_id)
        async with self._database.statements() as connection:
            return [WaitingPost(**row._mapping) for row in await connection.execute(oldest_first)]

    async def read(self, post_ids: Collection[str]) -> list[WebhookPost]:
        """Those of `post_ids` that wait."""
        columns = (_post.post_id, _post.job_id, _post.event, _post.body, _post.created_at)
        found = select(*columns).where(_post.post_id.in_(post_ids))
        async with self._database.statements() as connection:
            return [WebhookPost(**row._mapping) for row in await connection.execute(found)]

    async def remove(self, post_id: str, fence: Fence) -> None:
        """The receiver has it, or it is given up. Raises `FencedError`."""
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await connection.execute(delete(webhook_post).where(_post.post_id == post_id))

    async def failed(self, post_id: str, fence: Fence, *, error: str, next_try_at: datetime) -> None:
        """A try has failed; the next one is not before `next_try_at`. Raises `FencedError`."""
        values = {"attempts": _post.attempts + 1, "error": error, "next_try_at": next_try_at}
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await connection.execute(update(webhook_post).where(_post.post_id == post_id).values(values))


def announce_again(post: WebhookPost) -> str:
    """The statement, for a person, after which what `post` says is announced again if it still holds."""
    return f"DELETE FROM webhook_announcement WHERE job_id = '{post.job_id}' AND kind = '{post.event}'"  # noqa: S608
