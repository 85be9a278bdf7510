"""A post is signed, ends within its time, trusts whom it should, and keeps secrets to itself."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from piko.clock import SystemClock
from piko.errors import SettingsError
from piko.execution.webhook_calls import WebhookCalls, signature
from piko.model.webhook_posts import WebhookPost
from piko.webhook_target import parse_keys
from tests.harness.waiting import PATIENCE_S
from tests.harness.webhooks import KEY, WebhookServer, example_receiver
from tests.store.certificates import Authority

_POST = WebhookPost(
    post_id="p1",
    job_id="orders",
    event="late",
    body='{"text":"é"}',
    created_at=datetime(2026, 1, 5, tzinfo=UTC),
)


def _calls(
    url: str, *, key: str = KEY, ca: Path | None = None, timeout_s: float = PATIENCE_S
) -> WebhookCalls:
    return WebhookCalls(
        url=SecretStr(url), key=SecretStr(key), ca=ca, timeout_s=timeout_s, clock=SystemClock()
    )


async def _trouble(calls: WebhookCalls) -> str:
    trouble = await calls.trouble_of(_POST, await calls.receiver())
    assert trouble is not None
    assert "5ECRET" not in trouble
    return trouble


@pytest.mark.parametrize("key", [KEY, "no base64, but long enough".replace(" ", "_")])
async def test_the_example_accepts_what_was_signed_with_its_key_and_nothing_else(key: str) -> None:
    with WebhookServer() as server:
        calls = _calls(server.url, key=key)
        assert await calls.trouble_of(_POST, await calls.receiver()) is None
    (posted,) = server.posts
    assert (posted.path, posted.body.decode()) == ("/hooks/T0P-5ECRET", _POST.body)
    verified = example_receiver().verified
    assert posted.post_id == "p1"
    assert verified(posted.headers, posted.body, key, now=time.time())
    assert not verified(posted.headers, posted.body + b" ", key, now=time.time())
    assert not verified(posted.headers, posted.body, "another key of the same kind", now=time.time())
    assert not verified({**posted.headers, "webhook-id": "p2"}, posted.body, key, now=time.time())
    assert not verified(posted.headers, posted.body, key, now=time.time() + 3600)
    assert not verified({}, posted.body, key, now=time.time())


async def test_a_signature_follows_the_example_of_standard_webhooks() -> None:
    (key,) = parse_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_in_a_change_of_keys_a_receiver_may_know_either() -> None:
    with WebhookServer() as server:
        calls = _calls(server.url, key=f"{KEY}\nthe-key-from-before")
        assert await calls.trouble_of(_POST, await calls.receiver()) is None
    (posted,) = server.posts
    verified = example_receiver().verified
    for key in (KEY, "the-key-from-before"):
        assert verified(posted.headers, posted.body, key, now=time.time())


async def test_url_and_key_in_files_are_read_again_for_each_round(tmp_path: Path) -> None:
    url, key = tmp_path / "url", tmp_path / "key"
    with WebhookServer() as server:
        url.write_text(f"{server.url}\n")
        key.write_text(f"{KEY}\n")
        calls = _calls(f"file:{url}", key=f"file:{key}")
        assert await calls.trouble_of(_POST, await calls.receiver()) is None
        key.write_text("the-key-that-comes-after")
        assert await calls.trouble_of(_POST, await calls.receiver()) is None
    verified = example_receiver().verified
    assert verified(
        server.posts[1].headers, server.posts[1].body, "the-key-that-comes-after", now=time.time()
    )
    key.write_text("short")
    with pytest.raises(
        SettingsError, match=r"`webhook_key` .not shown, it is a secret.: too short to sign with"
    ):
        await calls.receiver()
    url.unlink()
    with pytest.raises(SettingsError, match=r"`webhook_url` = file:.* cannot be read: No such file"):
        await calls.receiver()


async def test_a_server_that_hangs_is_left_after_the_timeout() -> None:
    with WebhookServer() as server:
        server.answer = server.hang
        assert await _trouble(_calls(server.url, timeout_s=0.3)) == "no answer within 0.3 s"


async def test_an_answer_that_is_no_success_is_named_without_the_secret_path() -> None:
    with WebhookServer(lambda _: 500) as server:
        assert await _trouble(_calls(server.url)) == "it answered 500: 500 for ***"


async def test_a_connection_that_is_closed_or_refused_is_trouble() -> None:
    with WebhookServer(lambda _: None) as server:
        assert "closed" in await _trouble(_calls(server.url))
    assert "Connect call failed" in await _trouble(_calls(server.url))


async def test_redirects_are_not_followed() -> None:
    with WebhookServer() as other, WebhookServer(lambda _: 307, location=other.url) as server:
        said = "it answered 307; redirects are not followed, set webhook_url to where it leads"
        assert await _trouble(_calls(server.url)) == said
    assert len(server.posts) == 1
    assert not other.posts


async def test_a_certificate_has_to_be_of_the_authority_and_of_the_host(tmp_path: Path) -> None:
    authority, foreign = Authority(tmp_path), Authority(tmp_path, "foreign")
    right = authority.issue("right", hosts=["localhost"])
    with WebhookServer(tls=_serving(right.certificate, right.key)) as server:
        calls = _calls(server.url, ca=authority.certificate)
        assert await calls.trouble_of(_POST, await calls.receiver()) is None
        assert "certificate verify failed" in await _trouble(_calls(server.url))
        assert "certificate verify failed" in await _trouble(_calls(server.url, ca=foreign.certificate))
    assert len(server.posts) == 1
    wrong = authority.issue("wrong", hosts=["example.com"])
    with WebhookServer(tls=_serving(wrong.certificate, wrong.key)) as server:
        trouble = await _trouble(_calls(server.url, ca=authority.certificate))
        assert "Hostname mismatch" in trouble
    assert not server.posts


async def test_a_file_of_authorities_that_is_none_is_named(tmp_path: Path) -> None:
    for ca in (tmp_path / "missing.pem", tmp_path):
        with pytest.raises(SettingsError, match=r"setting `webhook_ca` = .* cannot be used"):
            await _calls("https://localhost:1/", ca=ca).receiver()


def _serving(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
