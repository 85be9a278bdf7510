"""Whose the name of a cluster is: two clusters of one name would take each other's rows for their own."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.operators import operator_cluster
from piko.store.upsert import write_rows


class Clusters:
    """Names of clusters, each bound to the one that used it first."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def bind(self, cluster: str, uid: str) -> str:
        """Bind the name `cluster` to `uid` where it is not bound yet; the uid that it is bound to.

        Raises `DatabaseUnavailableError`.
        """
        async with self._database.statements() as connection:
            bound = await _uid(connection, cluster)
        if bound is not None:
            return bound
        async with self._database.transaction() as connection:
            rows = [{"cluster": cluster, "uid": uid}]
            await write_rows(connection, self._database, operator_cluster, rows)
            return await _uid(connection, cluster) or uid

    async def beat(self, cluster: str, *, trouble: str | None) -> None:
        """Say that the operator of `cluster` acts, and what it knows; before `bind` nothing is written.

        Raises `DatabaseUnavailableError`.
        """
        statement = (
            update(operator_cluster)
            .where(operator_cluster.c.cluster == cluster)
            .values(heartbeat_at=Now(), trouble=trouble)
        )
        async with self._database.transaction() as connection:
            await connection.execute(statement)


async def _uid(connection: AsyncConnection, cluster: str) -> str | None:
    statement = select(operator_cluster.c.uid).where(operator_cluster.c.cluster == cluster)
    return (await connection.execute(statement)).scalar_one_or_none()
