"""TLS to a MariaDB with certificates of its own authority, and the other ways to reach one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from piko.errors import DatabaseUnavailableError, SettingsError
from piko.store.engine import open_database
from piko.store.schema.migrate import check, upgrade
from tests.harness.database_servers import DatabaseServer
from tests.store.certificates import Authority

KNOWN_AS = "localhost"
"""The one name in the server's certificate: 127.0.0.1 reaches it too, and is not in there."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def dsn(own_mariadb: DatabaseServer, authority: Authority) -> str:
    """A database on a server that refuses to speak without TLS, except on its socket."""
    database = await own_mariadb.create_database()
    await database.execute("CREATE USER 'certified'@'%' IDENTIFIED BY 'piko' REQUIRE X509")
    await database.execute("GRANT ALL PRIVILEGES ON *.* TO 'certified'@'%'")
    pair = authority.issue("server", hosts=[KNOWN_AS])
    own_mariadb.stop()
    own_mariadb.start(
        f"--ssl-ca={authority.certificate}",
        f"--ssl-cert={pair.certificate}",
        f"--ssl-key={pair.key}",
        "--require-secure-transport=ON",
    )
    return make_url(database.dsn).set(host=KNOWN_AS).render_as_string(hide_password=False)


async def cipher(dsn: str) -> str:
    """What the session is encrypted with; empty where it is not."""
    database = open_database(dsn)
    try:
        async with database.statements() as connection:
            row = (await connection.execute(text("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))).one()
            return str(row[1])
    finally:
        await database.close()


async def refusal(dsn: str) -> str:
    with pytest.raises(DatabaseUnavailableError) as caught:
        await cipher(dsn)
    return str(caught.value)


async def test_a_server_is_spoken_to_over_tls_and_proves_who_it_is(
    dsn: str, authority: Authority, tmp_path: Path
) -> None:
    assert "Access denied" in await refusal(dsn), "the server wants TLS"
    assert await cipher(f"{dsn}&ssl_ca={authority.certificate}")
    assert await cipher(f"{dsn}&ssl_mode=required")
    assert "self-signed" in await refusal(f"{dsn}&ssl_mode=verify_identity"), (
        "this machine trusts no such one"
    )
    other = Authority(tmp_path, "another")
    assert "certificate verify failed" in await refusal(f"{dsn}&ssl_ca={other.certificate}")
    assert "certificate verify failed" in await refusal(
        f"{dsn}&ssl_mode=verify_ca&ssl_ca={other.certificate}"
    )

    by_address = dsn.replace(f"@{KNOWN_AS}:", "@127.0.0.1:")
    assert "127.0.0.1" in await refusal(f"{by_address}&ssl_ca={authority.certificate}")
    assert await cipher(f"{by_address}&ssl_mode=verify_ca&ssl_ca={authority.certificate}")

    secured = f"{dsn}&ssl_mode=VERIFY_IDENTITY&ssl_ca={authority.certificate}"
    await upgrade(secured)
    assert (await check(secured)).usable


async def test_a_client_proves_who_it_is_and_a_renewed_certificate_holds_without_a_restart(
    dsn: str, authority: Authority, tmp_path: Path
) -> None:
    certified = dsn.replace("//piko:", "//certified:") + f"&ssl_ca={authority.certificate}"
    assert "Access denied" in await refusal(certified)
    pair = Authority(tmp_path, "stranger").issue("client")
    database = open_database(f"{certified}&ssl_cert={pair.certificate}&ssl_key={pair.key}")
    try:
        with pytest.raises(DatabaseUnavailableError):
            async with database.statements() as connection:
                await connection.execute(text("SELECT 1"))
        authority.issue("client")  # in place of the stranger's, under the same names
        async with database.statements() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    finally:
        await database.close()


async def test_a_socket_of_this_machine_needs_no_host(own_mariadb: DatabaseServer) -> None:
    database = await own_mariadb.create_database()
    name = make_url(database.dsn).database
    dsn = f"mysql+asyncmy://piko:piko@/{name}?unix_socket={own_mariadb.socket}"
    await upgrade(dsn)
    assert await cipher(dsn) == ""


async def test_a_password_may_hold_letters_beyond_latin_1(own_mariadb: DatabaseServer) -> None:
    database = await own_mariadb.create_database()
    await database.execute("CREATE USER 'paŭlo'@'%' IDENTIFIED BY 'pässwörd€'")
    await database.execute("GRANT ALL PRIVILEGES ON *.* TO 'paŭlo'@'%'")
    url = make_url(database.dsn).set(username="paŭlo", password="pässwörd€")
    assert await cipher(url.render_as_string(hide_password=False)) == ""


# ---- what is found out at the start -----------------------------------------------------------------

DSN = "mysql+asyncmy://u:hunter2@db.invalid/piko?"


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    with pytest.raises(
        SettingsError, match=r"option `ssl_ca` = .*ca.pem' cannot be read: No such file"
    ) as caught:
        open_database(f"{DSN}ssl_ca={missing}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("found", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path, found: bytes) -> None:
    (tmp_path / "ca.pem").write_bytes(found)
    with pytest.raises(
        SettingsError, match=r"`ssl_ca` = .*ca.pem': no usable certificates: .*expected PEM files"
    ):
        open_database(f"{DSN}ssl_ca={tmp_path / 'ca.pem'}")


def test_a_key_has_to_belong_to_its_certificate_and_to_be_open(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(
        SettingsError, match=r"no usable certificates.*the key that belongs to the certificate"
    ):
        open_database(f"{DSN}ssl_cert={one.certificate}&ssl_key={other.key}")
    locked = authority.issue("locked", passphrase="hush")
    with pytest.raises(SettingsError, match="the key has a passphrase"):
        open_database(f"{DSN}ssl_cert={locked.certificate}&ssl_key={locked.key}")
