"""`piko settings` as a program: values, origins, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piko.settings import Settings
from tests.cli.piko import piko

pytestmark = pytest.mark.usefixtures("programs")

_DSN = "mysql+asyncmy://ada:open-sesame@db:3306/piko?charset=utf8mb4"


def test_each_value_is_reported_with_its_origin_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[default]\nleader_lease_s = 60\npoll_interval_s = 2\n")
    (tmp_path / ".secrets.toml").write_text(f'[default]\nmysql_dsn = "{_DSN}"\n')
    answer = piko("settings", "-o", "json", cwd=tmp_path, PIKO_POLL_INTERVAL_S="3")
    assert answer.code == 0
    reported = json.loads(answer.out)
    assert set(reported) == set(Settings.model_fields)
    assert reported["poll_interval_s"] == {"value": 3.0, "from": "the environment as PIKO_POLL_INTERVAL_S"}
    assert reported["leader_lease_s"] == {"value": 60.0, "from": str(tmp_path / "settings.toml")}
    assert reported["mysql_dsn"]["from"] == str(tmp_path / ".secrets.toml")
    assert reported["timezone"] == {"value": "UTC", "from": "default"}


def test_no_secret_is_printed(tmp_path: Path) -> None:
    for form in ("text", "json"):
        answer = piko("settings", "-o", form, cwd=tmp_path, dsn=_DSN)
        assert "mysql+asyncmy://ada:***@db:3306/piko" in answer.out
        assert "charset=utf8mb4" in answer.out
        assert "open-sesame" not in answer.out + answer.err


def test_a_secret_in_an_option_that_does_not_exist_is_not_printed_either(tmp_path: Path) -> None:
    answer = piko("settings", cwd=tmp_path, dsn=f"{_DSN}&ssl_key_passphrase=hush")
    assert answer.code == 2
    assert "unknown option `ssl_key_passphrase` = (not shown)" in answer.err
    assert "hush" not in answer.err


def test_a_person_gets_a_table(tmp_path: Path) -> None:
    lines = piko("settings", cwd=tmp_path, dsn=_DSN, PIKO_TIMEZONE="Asia/Shanghai").out.splitlines()
    assert lines[0].split() == ["SETTING", "VALUE", "FROM"]
    [zone] = [line for line in lines if line.startswith("timezone ")]
    assert zone.split(maxsplit=2) == ["timezone", '"Asia/Shanghai"', "the environment as PIKO_TIMEZONE"]


def test_settings_that_cannot_work_are_named(tmp_path: Path) -> None:
    answer = piko("settings", cwd=tmp_path, dsn=_DSN, PIKO_CPU_BACKEND="dask", PIKO_CPU_WORKERS="-1")
    assert answer.code == 2
    assert "setting `cpu_workers` = '-1' (in the environment as PIKO_CPU_WORKERS)" in answer.err
    answer = piko("settings", cwd=tmp_path, dsn=_DSN, PIKO_CPU_BACKEND="dask")
    assert answer.code == 2
    assert "needs `dask_address`: set PIKO_DASK_ADDRESS" in answer.err
