"""What encrypts the secret parts of configs, and what it says where it cannot decrypt one."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.config_keys import NO_KEYS, ConfigKeys, read_config_keys
from piko.errors import SettingsError
from piko.settings import load_settings

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = '{"password":"hunter2"}'


def text_of(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


@given(job_id=st.text(min_size=1), content=st.dictionaries(st.text(), st.text()))
def test_what_is_encrypted_is_read_as_it_was_written(job_id: str, content: dict[str, str]) -> None:
    plain = json.dumps(content, ensure_ascii=False)
    keys = ConfigKeys([OLD])
    sealed = keys.seal(job_id, plain)
    assert sealed is not None
    assert list(json.loads(sealed)) == ["$encrypted"]
    assert keys.unseal(job_id, sealed).text == plain
    assert keys.seal(job_id, plain) == sealed  # so that nothing looks edited that was not
    assert keys.seal(job_id, sealed) == sealed


def test_without_a_key_and_without_a_secret_nothing_is_encrypted() -> None:
    assert NO_KEYS.seal("a", SECRET) == SECRET
    assert ConfigKeys([OLD]).seal("a", None) is None
    assert ConfigKeys([OLD]).unseal("a", None).text is None


def test_plain_text_is_read_as_it_is() -> None:
    for plain in (SECRET, '{"$encrypted": 1}', '{"$encrypted": "v1:x", "more": 1}', "not JSON $encrypted"):
        assert ConfigKeys([OLD]).unseal("a", plain).text == plain
        assert ConfigKeys([OLD]).unseal("a", plain).unreadable is None


def test_the_first_key_encrypts_and_each_decrypts() -> None:
    before, between, after = ConfigKeys([OLD]), ConfigKeys([NEW, OLD]), ConfigKeys([NEW])
    old, new = before.seal("a", SECRET), between.seal("a", SECRET)
    assert old != new
    assert between.unseal("a", old).text == between.unseal("a", new).text == SECRET
    assert new is not None
    assert old is not None
    assert between.is_sealed(new)
    assert not between.is_sealed(old)
    assert not between.is_sealed(SECRET)
    assert after.unseal("a", new).text == SECRET
    assert after.unseal("a", old).unreadable is not None


def test_a_missing_key_is_named_with_the_remedy() -> None:
    sealed = ConfigKeys([OLD]).seal("a", SECRET)
    (old,), (new,) = ConfigKeys([OLD]).ids, ConfigKeys([NEW]).ids
    assert NO_KEYS.unseal("a", sealed).unreadable == (
        f"its secret part is encrypted with the key {old}, and this process has none; "
        "add that key to PIKO_CONFIG_KEY, or, if that key is lost, write secret_json again"
    )
    assert f"has only {new};" in str(ConfigKeys([NEW]).unseal("a", sealed).unreadable)


def test_what_was_copied_to_another_job_or_changed_is_not_read() -> None:
    keys = ConfigKeys([OLD])
    sealed = keys.seal("a", SECRET)
    assert sealed is not None
    envelope = json.loads(sealed)["$encrypted"]
    other = envelope[:-6] + ("A" if envelope[-6] != "A" else "B") + envelope[-5:]
    shorter = envelope.rpartition(":")[0] + ":QUFB"
    for job_id, text in (("b", envelope), ("a", other), ("a", shorter), ("a", f"{envelope}=")):
        found = keys.unseal(job_id, json.dumps({"$encrypted": text}))
        assert "but for another job, or is damaged; write secret_json again" in str(found.unreadable)
    assert "damaged" in str(keys.unseal("a", '{"$encrypted": "v9:later"}').unreadable)


@pytest.mark.parametrize(
    ("given_key", "expected"),
    [
        ("", "key 1 has 0 bytes; expected 32 random bytes in base64, as `openssl rand -base64 32` prints"),
        ("hunter2", "key 1 is not base64; expected 32"),
        (text_of(OLD, b"hunter2"), "key 2 has 7 bytes; expected 32"),
        (text_of(*[OLD] * 11), "has 11 keys; expected at most 10"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(given_key: str, expected: str) -> None:
    environment = {"PIKO_MYSQL_DSN": "sqlite+aiosqlite:///p.db", "PIKO_CONFIG_KEY": given_key}
    with pytest.raises(SettingsError) as refused:
        load_settings(environment=environment)
    assert f"setting `config_key` = (not shown) (in the environment as PIKO_CONFIG_KEY): {expected}" in str(
        refused.value
    )
    for part in filter(None, given_key.split(",")):
        assert part not in str(refused.value)


def test_keys_are_taken_in_both_alphabets_and_with_spaces_between() -> None:
    high = b"\xfb\xff" * 16
    urlsafe = base64.urlsafe_b64encode(high).decode()
    assert read_config_keys(f"{urlsafe} , {text_of(OLD)}").ids == ConfigKeys([high, OLD]).ids


def test_keys_are_in_no_representation() -> None:
    environment = {"PIKO_MYSQL_DSN": "sqlite+aiosqlite:///p.db", "PIKO_CONFIG_KEY": text_of(OLD)}
    settings = load_settings(environment=environment)
    for shown in (repr(settings), str(settings), repr(settings.config_keys)):
        assert text_of(OLD) not in shown
        assert repr(OLD) not in shown
