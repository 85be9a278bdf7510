"""A name stays one segment of the path that it is put into, whatever it holds."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from piko.api_path import api_path


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../b", "/", "%2e%2e", "%2E", "a%2fb", "%", "a%00"])
def test_what_would_choose_another_path_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a path"):
        api_path("api", "v1", "namespaces", "a", "secrets", name)


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))
def test_every_other_name_reaches_the_server_as_it_is(name: str) -> None:
    try:
        path = api_path("secrets", name)
    except ValueError:
        assert name in (".", "..") or "/" in name or "%" in name
        return
    sent = URL("https://server" + path)
    assert not sent.query_string
    assert not sent.fragment
    assert unquote(sent.raw_path, errors="strict") == f"/secrets/{name}"
