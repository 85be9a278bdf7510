"""A database URL in a file, and a password that is changed on a real server while replicas go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from piko.errors import DatabaseRefusedError, DatabaseUnavailableError, SettingsError
from piko.store.engine import Database, open_database
from piko.store.schema.migrate import check, upgrade
from piko.store.session_locks import SessionLockStore
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase

USER = "rotated"


@pytest.fixture
async def server(own_mariadb: DatabaseServer) -> TestDatabase:
    """A database with a user whose password is `first`."""
    database = await own_mariadb.create_database()
    await database.execute(f"CREATE USER '{USER}'@'%' IDENTIFIED BY 'first'")
    await database.execute(f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%'")
    return database


@pytest.fixture
def write(server: TestDatabase, tmp_path: Path) -> Callable[[str], Path]:
    """Writes the file as a Secret's volume does: another takes its place. It ends with a line break."""

    def write(password: str) -> Path:
        url = make_url(server.dsn).set(username=USER, password=password)
        path, new = tmp_path / "dsn", tmp_path / "new"
        new.write_text(url.render_as_string(hide_password=False) + "\n", encoding="utf-8")
        return new.replace(path)

    return write


@pytest.fixture
async def database(write: Callable[[str], Path]) -> AsyncIterator[Database]:
    opened = open_database(f"file:{write('first')}")
    yield opened
    await opened.close()


async def user(database: Database) -> str:
    """Who a new session is."""
    await database.engine.dispose()
    async with database.transaction() as connection:
        return str((await connection.execute(text("SELECT CURRENT_USER()"))).scalar_one())


async def change_password(server: TestDatabase, password: str) -> None:
    await server.execute(f"ALTER USER '{USER}'@'%' IDENTIFIED BY '{password}'")


async def test_a_password_that_changes_in_the_server_first_is_waited_for(
    server: TestDatabase, database: Database, write: Callable[[str], Path]
) -> None:
    assert await user(database) == f"{USER}@%"
    await change_password(server, "second")
    with pytest.raises(DatabaseRefusedError, match="Access denied") as caught:
        await user(database)
    assert "first" not in str(caught.value)
    write("second")
    assert await user(database) == f"{USER}@%"


async def test_a_password_that_changes_in_the_file_first_does_no_harm(
    server: TestDatabase, database: Database, write: Callable[[str], Path]
) -> None:
    assert await user(database)
    write("second")
    assert await user(database), "the first still works"
    await change_password(server, "second")
    assert await user(database)
    await change_password(server, "third")
    write("third")
    assert await user(database), "and so on"


async def test_a_session_that_is_open_outlives_the_change(server: TestDatabase, database: Database) -> None:
    async with database.statements() as connection:
        await change_password(server, "second")
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


@pytest.mark.parametrize("content", ["", "nonsense", "postgresql://piko:hunter2@db/piko", "\xff"])
async def test_a_file_that_was_spoilt_leaves_the_url_that_worked(
    server: TestDatabase, database: Database, write: Callable[[str], Path], content: str
) -> None:
    path = write("first")
    path.write_bytes(content.encode("latin-1"))
    assert await user(database)
    await change_password(server, "second")
    with pytest.raises(DatabaseUnavailableError, match="Access denied"):
        await user(database)
    path.unlink()
    with pytest.raises(DatabaseUnavailableError, match="Access denied"):
        await user(database)
    write("second")
    assert await user(database)


async def test_the_url_may_name_another_server_once_the_first_is_away(
    own_mariadb: DatabaseServer, database: Database, server: TestDatabase, tmp_path: Path
) -> None:
    assert await user(database)
    name = make_url(server.dsn).database
    socket = f"mysql+asyncmy://piko:piko@/{name}?unix_socket={own_mariadb.socket}"
    (tmp_path / "dsn").write_text(socket, encoding="utf-8")
    assert await user(database) == f"{USER}@%"
    await server.execute(f"DROP USER '{USER}'@'%'")
    assert await user(database) == "piko@%"


async def test_migrations_and_session_locks_read_the_file_too(
    server: TestDatabase, database: Database, write: Callable[[str], Path]
) -> None:
    dsn = f"file:{write('first')}"
    await upgrade(dsn)
    assert (await check(dsn)).usable
    locks = SessionLockStore(database=database, dsn=dsn, lease_name="default", idle_s=30, heard_within_s=30)
    async with locks.session():
        pass
    await change_password(server, "second")
    with pytest.raises(DatabaseUnavailableError, match="Access denied"):
        async with locks.session():
            pass
    write("second")
    async with locks.session():
        pass
    write("second").write_text("nonsense", encoding="utf-8")
    with pytest.raises(DatabaseUnavailableError, match="is not a database URL"):
        async with locks.session():
            pass


# ---- what is found out at the start -----------------------------------------------------------------


def refusal(dsn: str) -> str:
    with pytest.raises(SettingsError) as caught:
        open_database(dsn)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dsn"
    assert f"setting `mysql_dsn` = file:{path} cannot be read: No such file" in refusal(f"file:{path}")
    assert "cannot be read: Is a directory" in refusal(f"file:{tmp_path}")


def test_a_path_begins_at_the_root() -> None:
    assert "expected a path from the root, for example file:/etc/piko" in refusal("file:dsn")
    assert "expected a path from the root" in refusal("file:")


def test_what_a_file_holds_is_checked_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "dsn"
    path.write_bytes(b"\xff\xfe")
    assert "not text in UTF-8" in refusal(f"file:{path}")
    path.write_text("x" * 70_000, encoding="utf-8")
    assert "longer than 64 KiB" in refusal(f"file:{path}")
    path.write_text("postgresql://piko:hunter2@db/piko", encoding="utf-8")
    assert f"`mysql_dsn in {path}` = postgresql://piko:***@db/piko: driver" in refusal(f"file:{path}")
    path.write_text("mysql+asyncmy://piko:hunter2@extra@db/piko", encoding="utf-8")
    assert f"setting `mysql_dsn in {path}` is not a database URL" in refusal(f"file:{path}")


def test_a_file_may_name_a_file_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "dsn"
    path.write_text(f"sqlite+aiosqlite:///{tmp_path}/piko.db\n", encoding="utf-8")
    assert open_database(f"file:{path}").is_sqlite
