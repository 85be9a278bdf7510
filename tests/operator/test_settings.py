"""Settings of the operator: what is wrong is said with variable, value and expectation."""

from __future__ import annotations

import subprocess
import sys

import pytest

from piko.errors import SettingsError
from piko_operator.settings import load_settings

_DSN = {"PIKO_MYSQL_DSN": "mysql+asyncmy://user:s3cret@db/piko"}


def test_defaults_hold_where_nothing_is_said() -> None:
    settings = load_settings(_DSN)
    assert (settings.cluster, settings.namespaces, settings.http_port) == ("default", (), 8081)


def test_namespaces_are_a_comma_list() -> None:
    assert load_settings(_DSN | {"PIKO_OPERATOR_NAMESPACES": " data, reports ,"}).namespaces == (
        "data",
        "reports",
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {},
            "setting PIKO_MYSQL_DSN is missing: set it in the environment, for example PIKO_MYSQL_DSN=mysql",
        ),
        ({"PIKO_MYSQL_DSN": "nonsense s3cret"}, "setting `PIKO_MYSQL_DSN` is not a database URL"),
        ({"PIKO_MYSQL_DSN": "postgresql://u:s3cret@h/d"}, "driver 'postgresql' is not supported"),
        (
            _DSN | {"PIKO_OPERATOR_HTTP_PORT": "http"},
            "setting PIKO_OPERATOR_HTTP_PORT = 'http': input should be a valid integer",
        ),
        (
            _DSN | {"PIKO_OPERATOR_CLUSTER": "a/b"},
            "setting PIKO_OPERATOR_CLUSTER = 'a/b': expected 1 to 63 of",
        ),
        (_DSN | {"PIKO_OPERATOR_NAMESPACES": "Data"}, "expected namespace names separated by commas"),
        (
            _DSN | {"PIKO_OPERATOR_SWEEP": "3"},
            "unknown setting PIKO_OPERATOR_SWEEP in the environment; did you mean "
            "`PIKO_OPERATOR_SWEEP_INTERVAL_S`?; known settings are",
        ),
        (_DSN | {"PIKO_OPERATOR_CLUSTR": "a"}, "did you mean `PIKO_OPERATOR_CLUSTER`?"),
        (
            _DSN | {"PIKO_OPERATOR_MYSQL_DSN": "mysql+asyncmy://user:s3cret@db/piko"},
            "unknown setting PIKO_OPERATOR_MYSQL_DSN in the environment",
        ),
        (
            _DSN | {"PIKO_OPERATOR_METRICS_PORT": "9090"},
            "unknown setting PIKO_OPERATOR_METRICS_PORT in the environment",
        ),
        (
            {"PIKO_MYSQL_DSN": "mysql+asyncmy://u:s3cret@h/d?ssl=true"},
            "setting `PIKO_MYSQL_DSN` = mysql+asyncmy://u:***@h/d: unknown option `ssl` = 'true'",
        ),
    ],
)
def test_a_bad_setting_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environment)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_all_bad_settings_are_reported_at_once() -> None:
    environment = _DSN | {
        "PIKO_OPERATOR_HTTP_PORT": "x",
        "PIKO_OPERATOR_DEBUG": "perhaps",
        "PIKO_OPERATOR_NO": "z",
    }
    with pytest.raises(SettingsError) as caught:
        load_settings(environment)
    assert len(str(caught.value).splitlines()) == 3


def test_only_the_environment_that_is_given_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIKO_OPERATOR_CLUSTER", "of-this-process")
    monkeypatch.setenv("PIKO_OPERATOR_HTTP_PORT", "no number")
    assert load_settings(_DSN).cluster == "default"
    monkeypatch.setenv("PIKO_MYSQL_DSN", _DSN["PIKO_MYSQL_DSN"])
    with pytest.raises(SettingsError, match="PIKO_MYSQL_DSN is missing"):
        load_settings({})


def test_white_space_around_a_value_is_not_part_of_it() -> None:
    spaced = {"PIKO_MYSQL_DSN": _DSN["PIKO_MYSQL_DSN"] + "\r\n", "PIKO_OPERATOR_DEBUG": " true\n"}
    settings = load_settings(spaced | {"PIKO_OPERATOR_CLUSTER": "\tblue "})
    assert settings.mysql_dsn.get_secret_value() == _DSN["PIKO_MYSQL_DSN"]
    assert (settings.debug, settings.cluster) == (True, "blue")


def test_a_service_called_piko_operator_is_no_setting() -> None:
    links = {"PIKO_OPERATOR_PORT_8081_TCP_ADDR": "10.0.0.1", "PIKO_OPERATOR_SERVICE_PORT_HTTP": "8081"}
    assert load_settings(_DSN | links).http_port == 8081


@pytest.mark.usefixtures("programs")
def test_a_missing_dsn_ends_the_program_with_one_sentence() -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "piko_operator"], env={}, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("piko-operator: setting PIKO_MYSQL_DSN is missing")
    assert "Traceback" not in outcome.stderr
