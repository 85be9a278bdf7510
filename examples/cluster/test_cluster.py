"""Tests of the demonstration, without a cluster: `pytest examples/cluster`."""

from __future__ import annotations

from app import app
from piko.testing import run_job


def test_a_greeting_is_configured() -> None:
    assert run_job(app, "greet", config={"name": "you", "times": 2}).succeeded


def test_a_digest_is_made() -> None:
    assert run_job(app, "digest").succeeded
