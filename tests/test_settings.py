from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from piko.errors import SettingsError
from piko.settings import Settings, load_settings

DSN = "mysql+asyncmy://piko:hunter2@db.internal:3306/piko?charset=utf8mb4"

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The settings of a folder and an environment in which only the DSN is set, unless said otherwise."""

    def call(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        variables = {"PIKO_MYSQL_DSN": DSN} if environment is None else environment
        return load_settings(environment=variables, directory=tmp_path, **overrides)

    return call


def with_dsn(**variables: str) -> dict[str, str]:
    return {"PIKO_MYSQL_DSN": DSN, **variables}


def refusal(load: Load, environment: Mapping[str, str], **overrides: object) -> str:
    """The message of settings that are refused; it never holds the password."""
    with pytest.raises(SettingsError) as caught:
        load(environment, **overrides)
    message = str(caught.value)
    assert "hunter2" not in message
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return message


# ---- where they come from ---------------------------------------------------------------------------


def test_a_dsn_is_all_that_has_to_be_said(load: Load) -> None:
    settings = load()

    assert settings.mysql_dsn.get_secret_value() == DSN
    assert (settings.timezone, settings.leader_enabled, settings.leader_name) == ("UTC", True, "default")
    assert (settings.leader_lease_s, settings.leader_renew_interval_s, settings.debug) == (30, 10, False)


def test_later_files_win_and_the_environment_wins_over_all(load: Load, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[default]\ntimezone = "Asia/Tokyo"\nhttp_port = 1\ndebug = true')
    (tmp_path / "piko.toml").write_text("[default]\nhttp_port = 2\nleader_lease_s = 40")
    (tmp_path / ".secrets.toml").write_text(f'[default]\nmysql_dsn = "{DSN}"\nleader_lease_s = 50')

    settings = load({"PIKO_HTTP_PORT": "3"})

    assert (settings.timezone, settings.debug) == ("Asia/Tokyo", True)
    assert (settings.leader_lease_s, settings.http_port) == (50, 3)
    assert load({}, http_port=4).http_port == 4


def test_a_path_names_the_one_file_that_is_read(load: Load, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[default]\nhttp_port = 1")
    other = tmp_path / "other.toml"
    other.write_text("[default]\npoll_interval_s = 0.5")

    settings = load(with_dsn(PIKO_SETTINGS_PATH=str(other)))

    assert (settings.poll_interval_s, settings.http_port) == (0.5, 8080)


def test_names_of_settings_are_read_in_any_case(load: Load, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[default]\nHTTP_PORT = 1")

    assert load().http_port == 1


def test_a_file_without_settings_is_no_error(load: Load, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("")

    assert load().http_port == 8080


# ---- what is refused --------------------------------------------------------------------------------


def test_a_missing_dsn_says_where_to_set_it_and_how_it_looks(load: Load) -> None:
    message = refusal(load, {})

    assert "`mysql_dsn` is missing" in message
    assert "PIKO_MYSQL_DSN" in message
    assert "settings.toml" in message
    assert "mysql+asyncmy://user:password@127.0.0.1:3306/piko" in message


@pytest.mark.parametrize(
    "dsn",
    ["", "hunter2", "mysql+asyncmy://u:hunter2@h:port/db", "mysql+asyncmy://u:a@hunter2@h/db"],
)
def test_what_is_no_url_is_not_shown_for_it_may_hold_a_password(load: Load, dsn: str) -> None:
    message = refusal(load, {"PIKO_MYSQL_DSN": dsn})

    assert "`mysql_dsn`" in message
    assert "mysql+asyncmy://user:password@" in message


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("mysql+pymysql://u:hunter2@h/db", "driver 'mysql+pymysql' is not supported"),
        ("postgresql+asyncpg://u:hunter2@h/db", "expected one of mysql+asyncmy, sqlite+aiosqlite"),
        ("mysql://u:hunter2@h/db", "driver 'mysql' is not supported"),
        ("mysql+asyncmy://u:hunter2@h:70000/db", "port"),
        ("mysql+asyncmy://u:hunter2@h", "host or database name is missing"),
        ("sqlite+aiosqlite://", "expected a file"),
        ("sqlite+aiosqlite:///:memory:", "expected a file"),
    ],
)
def test_a_dsn_that_cannot_work_is_refused_before_anything_connects(
    load: Load, dsn: str, expected: str
) -> None:
    assert expected in refusal(load, {"PIKO_MYSQL_DSN": dsn})


OPTIONS = {
    "charst=utf8mb4": "unknown option `charst` = 'utf8mb4'; did you mean `charset`?; there is charset, ssl",
    "charst=": "unknown option `charst` = ''; did you mean `charset`?",
    "ssl_verify_cert=true": "unknown option `ssl_verify_cert` = 'true'; did you mean `ssl_mode`?",
    "charset=utf8": "option `charset` = 'utf8': expected utf8mb4",
    "charset=": "option `charset` = '': expected utf8mb4",
    "charset=utf8mb4&charset=utf8mb4": "option `charset` = 'utf8mb4, utf8mb4' is given more than once",
    "ssl=true": "unknown option `ssl` = 'true'; did you mean `ssl_mode`?",
    "ssl-mode=REQUIRED": "unknown option `ssl-mode` = 'REQUIRED'; did you mean `ssl_mode`?",
    "sslmode=require": "unknown option `sslmode` = 'require'; did you mean `ssl_mode`?",
    "useSSL=true": "unknown option `useSSL` = 'true'; did you mean `ssl_mode`?",
    "ssl_mode=preferred": "option `ssl_mode` = 'preferred': expected disabled, required (encrypted,",
    "ssl_mode=required&ssl_ca=/ca.pem": "option `ssl_ca` is not looked at with `ssl_mode` = 'required'",
    "ssl_mode=disabled&ssl_cert=/c.pem": "a client certificate needs TLS",
    "ssl_key=/key.pem": "option `ssl_key` needs `ssl_cert`",
    "ssl_ca=ca.pem": "option `ssl_ca` = 'ca.pem': expected the path of a file, from the root",
    "ssl_mode=required&unix_socket=/run/sock": "TLS over a socket of this machine",
    "connect_timeout=ten": "unknown option `connect_timeout` = 'ten'",
    "password=hunter2": "unknown option `password` = (not shown)",
}


@pytest.mark.parametrize(("options", "expected"), OPTIONS.items(), ids=OPTIONS)
def test_an_option_of_the_dsn_that_cannot_work_is_named_with_what_there_is(
    load: Load, options: str, expected: str
) -> None:
    message = refusal(load, {"PIKO_MYSQL_DSN": f"mysql+asyncmy://u:hunter2@h/db?{options}"})

    assert message.startswith("setting `mysql_dsn` = mysql+asyncmy://u:***@h/db: ")
    assert expected in message


def test_a_socket_takes_the_place_of_a_host(load: Load) -> None:
    dsn = "mysql+asyncmy://piko@/piko?unix_socket=/run/mysqld/mysqld.sock"

    assert load({"PIKO_MYSQL_DSN": dsn}).mysql_dsn.get_secret_value() == dsn


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("mysql+asyncmy://u:hunter2@a b/db", "'a b' cannot be the name of a host"),
        ("mysql+asyncmy://u:hunter2@" + "x" * 64 + "/db", "cannot be the name of a host"),
        ("mysql+asyncmy://us/er:hunter2@h/db", "is not a database URL"),
        ("mysql+asyncmy://h/db", "the user is missing"),
        ("mysql+asyncmy://u:hunter2@h/db\n?x", "is not a database URL"),
        ("sqlite+aiosqlite://piko.db", "three slashes before a path"),
        ("sqlite+aiosqlite:////tmp/piko.db?timeout=3", "unknown option `timeout` = '3'; a SQLite URL has no"),
    ],
)
def test_a_dsn_that_would_fail_only_when_it_connects_is_refused_before(
    load: Load, dsn: str, expected: str
) -> None:
    assert expected in refusal(load, {"PIKO_MYSQL_DSN": dsn})


def test_an_unknown_setting_is_named_with_its_place_and_the_known_ones(load: Load, tmp_path: Path) -> None:
    (tmp_path / "piko.toml").write_text('[default]\nmysql_dsm = "hunter2"')

    in_file = refusal(load, with_dsn())
    assert "unknown setting `mysql_dsm`" in in_file
    assert "; did you mean `mysql_dsn`?; known settings are " in in_file
    assert str(tmp_path / "piko.toml") in in_file
    assert "mysql_dsn, poll_interval_s" in in_file
    (tmp_path / "piko.toml").unlink()
    assert "in the environment as PIKO_LEADER_LEASE" in refusal(load, with_dsn(PIKO_LEADER_LEASE="30"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("timezone", "Mars/Olympus", "IANA zone name, for example UTC or Asia/Shanghai"),
        ("timezone", "", "IANA zone name"),
        ("timezone", "../../etc/passwd", "IANA zone name"),
        ("debug", "perhaps", "boolean"),
        ("http_port", "eighty", "integer"),
        ("http_port", "70000", "less than or equal to 65535"),
        ("leader_lease_s", "0", "greater than 0"),
        ("leader_lease_s", "nan", "finite number"),
        ("poll_interval_s", "inf", "finite number"),
        ("history_max_age_s", "inf", "finite number"),
        ("history_max_age_s", "1e300", "less than or equal to 3153600000"),
        ("max_concurrent_runs", "1" + "0" * 30, "less than or equal to 1000000"),
        ("poll_interval_s", "1s", "number"),
        ("drain_timeout_s", "-1", "greater than or equal to 0"),
        ("max_concurrent_runs", "0", "greater than or equal to 1"),
        ("log_format", "xml", "'auto', 'json' or 'text'"),
        ("leader_name", "", "at least 1 character"),
        ("leader_name", "x" * 256, "at most 255 characters"),
    ],
)
def test_a_bad_value_is_named_with_its_setting_its_place_and_what_was_expected(
    load: Load, name: str, value: str, expected: str
) -> None:
    message = refusal(load, with_dsn(**{f"PIKO_{name.upper()}": value}))

    assert message.startswith(f"setting `{name}` = {value!r} (in the environment as PIKO_{name.upper()}): ")
    assert expected in message


def test_all_bad_settings_are_reported_at_once(load: Load) -> None:
    message = refusal(load, with_dsn(PIKO_HTTP_PORT="x", PIKO_DEBUG="perhaps", PIKO_NOPE="z"))

    assert len(message.splitlines()) == 3


def test_a_lease_that_is_renewed_too_rarely_is_refused(load: Load) -> None:
    message = refusal(load, with_dsn(PIKO_LEADER_LEASE_S="10", PIKO_LEADER_RENEW_INTERVAL_S="6"))

    assert "leader_lease_s = 10 must be at least twice leader_renew_interval_s = 6" in message


def test_a_path_to_nothing_is_refused(load: Load, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.toml")

    assert f"PIKO_SETTINGS_PATH = {nowhere}: no such file" in refusal(
        load, with_dsn(PIKO_SETTINGS_PATH=nowhere)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[default", "is not TOML"),
        (b"[default]\na = " + b"[" * 5000, "nested too deep"),
        (b"[default]\na = " + b"9" * 5000, "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b'mysql_dsn = "hunter2"', "expected one table [default] with all settings in it, found mysql_dsn"),
        (b"default = 5", "expected one table [default]"),
        (b"[default]\n[production]\n", "found production outside it"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(load: Load, tmp_path: Path, text: bytes, expected: str) -> None:
    (tmp_path / "settings.toml").write_bytes(text)

    message = refusal(load, with_dsn())

    assert f"settings file {tmp_path / 'settings.toml'}" in message
    assert expected in message


def test_a_dsn_of_the_wrong_type_is_not_shown(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".secrets.toml").write_text('[default]\nmysql_dsn = ["hunter2"]')

    assert "`mysql_dsn` = (not shown)" in refusal(load, {})


def test_a_secret_that_need_not_be_set_is_shown_in_no_message(load: Load) -> None:
    message = refusal(load, with_dsn(PIKO_WEB_SESSION_KEY="hunter2"))

    assert "setting `web_session_key` = (not shown)" in message


def test_a_setting_that_a_file_gives_twice_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[default]\nhttp_port = 1\nHTTP_PORT = 2")

    assert "`http_port` is given twice" in refusal(load, with_dsn())


def test_a_long_value_is_shown_in_part(load: Load) -> None:
    assert len(refusal(load, with_dsn(PIKO_DEBUG="x" * 100_000))) < 1000


# ---- what is tolerated, and what is never shown -----------------------------------------------------


@pytest.mark.parametrize(
    "variable",
    [
        ("PIKO_SERVICE_HOST", "10.0.0.1"),
        ("PIKO_SERVICE_PORT", "8080"),
        ("PIKO_SERVICE_PORT_HTTP", "8080"),
        ("PIKO_PORT", "tcp://10.0.0.1:8080"),
        ("PIKO_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PIKO_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PIKO_DEMO_RUNTIME_SERVICE_HOST", "10.0.0.1"),
        ("PIKO_HTTP_PORT", "tcp://10.0.0.1:8080"),
        ("PIKO_OPERATOR_NAMESPACES", "data"),
        ("PIKO_TEST_MYSQL", "anything"),
        ("PIKOLO", "unrelated"),
    ],
)
def test_what_others_put_into_the_environment_is_not_a_setting(load: Load, variable: tuple[str, str]) -> None:
    assert load(with_dsn(**dict([variable]))).http_port == 8080


def test_white_space_around_a_value_of_the_environment_is_not_part_of_it(load: Load, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[default]\nhttp_port = 1")
    settings = load(
        {
            "PIKO_MYSQL_DSN": f" {DSN}\r\n",
            "PIKO_DEBUG": " true",
            "PIKO_POLL_INTERVAL_S": "2 ",
            "PIKO_TIMEZONE": "\tAsia/Tokyo\n",
            "PIKO_LEADER_NAME": " blue ",
            "PIKO_SPOOL_DIR": "/tmp/spool\n",
            "PIKO_SETTINGS_PATH": f"{other}\n",
        }
    )

    assert settings.mysql_dsn.get_secret_value() == DSN
    assert (settings.debug, settings.poll_interval_s, settings.timezone) == (True, 2, "Asia/Tokyo")
    assert (settings.leader_name, settings.spool_dir) == ("blue", Path("/tmp/spool"))
    assert settings.http_port == 1


def test_a_byte_order_mark_before_a_file_is_no_part_of_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xef\xbb\xbf[default]\r\nhttp_port = 1\r\n")

    assert load().http_port == 1


def test_a_port_that_is_no_services_address_is_a_misspelt_setting(load: Load) -> None:
    assert "unknown setting `metrics_port`" in refusal(load, with_dsn(PIKO_METRICS_PORT="9090"))


def test_settings_show_no_secret(load: Load) -> None:
    settings = load()
    shown: list[Any] = [repr(settings), str(settings), settings.model_dump(), settings.model_dump_json()]

    assert not any("hunter2" in str(each) for each in shown)


def test_settings_do_not_change_while_they_are_used(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().debug = True  # type: ignore[misc]
