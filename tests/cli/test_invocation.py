"""Commands that are printed can be run as they stand by the person who reads them."""

from __future__ import annotations

import pytest

from piko.cli.invocation import as_called, called_as, plugin_with
from piko.cli.kubectl_options import RELEASE
from piko.cli.subcommands import SUBCOMMANDS


def as_plugin(text: str, **options: str) -> str:
    token = called_as.set(plugin_with({f"--{name}": value for name, value in options.items()}))
    try:
        return as_called(text)
    finally:
        called_as.reset(token)


def test_who_calls_piko_reads_piko() -> None:
    assert as_called("piko resume a; piko why a") == "piko resume a; piko why a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("piko resume a; piko why a", "kubectl piko -n data resume a; kubectl piko -n data why a"),
        ("see `piko runs --job a`", "see `kubectl piko -n data runs --job a`"),
        ("kubectl piko db check does", "kubectl piko db check does"),
        ("see `piko next --help`", "see `kubectl piko -n data next --help`"),
        ("piko import crontab -", "kubectl piko import crontab -"),
        ("the tables of piko are not those", "the tables of piko are not those"),
        ("see my.piko status", "see my.piko status"),
        ("piko runsheet", "piko runsheet"),
    ],
)
def test_who_calls_the_plugin_reads_how_they_called_it(text: str, expected: str) -> None:
    assert as_plugin(text, namespace="data") == expected


def test_all_options_of_the_cluster_are_in_it() -> None:
    named = as_plugin("piko jobs", namespace="data", context="my prod", release="two")
    assert named == f"kubectl piko -n data --context='my prod' {RELEASE}=two jobs"


def test_every_command_but_those_that_the_plugin_has_not_is_known() -> None:
    for name, known in SUBCOMMANDS.items():
        there = as_plugin(f"piko {name} x", namespace="data")
        if known.absent is not None:
            assert there == f"piko {name} x"
        else:
            options = "" if known.needs_no_release else "-n data "
            assert there == f"kubectl piko {options}{name} x"
