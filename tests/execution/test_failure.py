"""What is recorded of a failure: enough to find it, bounded, and none of the secrets of its config."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from piko.core.types import RunState
from piko.execution.failure import describe
from piko.observability.redaction import SHORTEST_SECRET, hide, model_secrets, secrets_of
from piko.text import LIMIT

SECRETS = st.text(min_size=SHORTEST_SECRET, max_size=30).filter(lambda text: "\udcff" not in text)


def recorded(failure: BaseException, *secrets: str) -> str:
    text, _ = describe(RunState.FAILED, failure, reason=None, timeout_s=None, secrets=secrets)
    assert text is not None
    return text


@pytest.mark.parametrize(
    "shown",
    [
        lambda secret: f"cannot log in with {secret}",
        lambda secret: f"bad header {secret!r}",
        lambda secret: f"bad header {secret!a}",
        lambda secret: json.dumps({"password": secret}),
        lambda secret: f"mysql://me:{quote(secret, safe='')}@host/db",
        lambda secret: str({"nested": [{"deep": secret}]}),
    ],
    ids=["as it is", "repr", "ascii", "json", "url", "in a document"],
)
@pytest.mark.parametrize(
    "secret", ["hunter2!", "with \"quotes\" and 'more'", "käse/brot&ß", "two\nlines here"]
)
def test_a_secret_is_hidden_in_whatever_form_it_is_shown(secret: str, shown: Any) -> None:
    text = recorded(ValueError(shown(secret)), secret)
    assert secret not in text
    assert repr(secret)[1:-1] not in text
    assert quote(secret, safe="") not in text
    assert "***" in text


@given(st.text(max_size=200), st.lists(SECRETS, min_size=1, max_size=4), st.data())
def test_no_secret_outlives_hiding_whatever_is_around_it(
    around: str, secrets: list[str], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(around)))
    middle = "".join(data.draw(st.permutations(secrets)))
    hidden = hide(around[:place] + middle + around[place:], secrets)
    assert not [secret for secret in secrets if secret in hidden]


@given(st.text(max_size=200))
def test_without_secrets_nothing_changes(text: str) -> None:
    assert hide(text, ()) == text


def test_the_chain_of_causes_is_reported_without_secrets_too() -> None:
    try:
        try:
            raise KeyError("token-123")
        except KeyError as cause:
            raise ValueError("no login") from cause
    except ValueError as failure:
        text = recorded(failure, "token-123")
    assert "KeyError" in text
    assert "ValueError: no login" in text
    assert "token-123" not in text


def test_a_secret_that_the_bound_would_have_cut_in_two_is_hidden_first() -> None:
    secret = "s3cret-" * 20
    for before in range(LIMIT // 2 - 200, LIMIT // 2 + 10, 7):
        text = recorded(ValueError("x" * before + secret + "y" * LIMIT), secret)
        assert "s3cret" not in text
        assert len(text) < LIMIT + 100


def test_the_secrets_of_a_document_are_its_values_at_any_depth() -> None:
    document = {"password": "hunter2", "deep": [{"pin": 12345, "on": True, "short": "abc"}]}
    assert secrets_of(document) == {"hunter2", "12345"}
    assert "second line" in secrets_of({"key": "-----\nsecond line\n-----"})


def test_the_secrets_of_a_model_are_those_that_it_declares() -> None:
    class Login(BaseModel):
        user: str
        password: SecretStr

    class Config(BaseModel):
        logins: list[Login]
        by_name: dict[str, SecretStr]

    config = Config(
        logins=[Login(user="somebody", password=SecretStr("hunter2"))],
        by_name={"other": SecretStr("swordfish")},
    )
    assert model_secrets(config) == {"hunter2", "swordfish"}
    assert model_secrets({"plain": "dict"}) == frozenset()
