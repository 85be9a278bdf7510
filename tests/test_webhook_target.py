"""Which URLs and keys a webhook may have; what is refused is not shown."""

from __future__ import annotations

from typing import Any

import pytest

from piko.errors import SettingsError
from piko.settings import load_settings
from piko.webhook_target import parse_target
from tests.harness.webhooks import KEY

_URL = "https://alerts.example.com/T0P-5ECRET?token=5ECRET"


def _refusal(**settings: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(environment={}, mysql_dsn="sqlite+aiosqlite:////tmp/piko.db", **settings)
    assert "5ECRET" not in str(refused.value)
    return str(refused.value)


def test_a_url_is_taken_apart() -> None:
    target = parse_target(_URL)
    assert (target.host, target.port, target.is_tls) == ("alerts.example.com", 443, True)
    assert (target.path, target.authority) == ("/T0P-5ECRET?token=5ECRET", "alerts.example.com:443")
    target = parse_target("http://[::1]:8000")
    assert (target.host, target.path, target.is_tls, target.authority) == ("::1", "/", False, "[::1]:8000")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "empty"),
        ("https://example.com/5ECRET bar", "not printable ASCII"),
        ("https://example.com:5ECRET/", "not a URL"),
        ("ftp://example.com/5ECRET", "does not begin with https://"),
        ("/hooks/5ECRET", "does not begin with https://"),
        ("https:///5ECRET", "does not begin with https://"),
        ("https://me:5ECRET@example.com/", "it names a user"),
    ],
)
def test_what_is_no_url_is_refused_at_the_start(url: str, expected: str) -> None:
    refusal = _refusal(webhook_url=url, webhook_key=KEY)
    assert expected in refusal
    assert "setting `webhook_url` = (not shown)" in refusal


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", "it holds 0 keys"),
        ("5ECRET", "too short to sign with: 6 bytes"),
        ("whsec_5ECRET!", "what follows whsec_ is not base64"),
        ("whsec_c2hvcnQ=", "too short to sign with: 5 bytes"),
        (" ".join([KEY] * 5), "it holds 5 keys"),
    ],
)
def test_what_cannot_sign_is_refused_at_the_start(key: str, expected: str) -> None:
    refusal = _refusal(webhook_url=_URL, webhook_key=key)
    assert expected in refusal
    assert "setting `webhook_key` = (not shown)" in refusal


def test_a_url_without_a_key_is_refused() -> None:
    assert "`webhook_url` needs `webhook_key`" in _refusal(webhook_url=_URL)


def test_what_is_in_files_is_looked_at_later() -> None:
    settings = load_settings(
        environment={}, mysql_dsn="sqlite+aiosqlite:////tmp/piko.db",
        webhook_url="file:/not/there/yet", webhook_key="file:/not/there/yet",
    )  # fmt: skip
    assert settings.webhook_url is not None
