"""Who does a command for `kubectl piko`: the least that can."""

from __future__ import annotations

import shlex

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from piko.cli import program
from piko.cli.done_by import DoneBy, done_by, options_of, readings
from piko.cli.subcommands import SUBCOMMANDS


@pytest.mark.parametrize(
    ("command", "by"),
    [
        ("status", DoneBy.SERVICE),
        ("runs", DoneBy.SERVICE),
        ("runs --job a", DoneBy.SERVICE),
        ("runs show r", DoneBy.SERVICE),
        ("runs cancel r", DoneBy.POD),
        ("runs retry r", DoneBy.POD),
        ("logs a -f", DoneBy.SERVICE),
        ("why a 2026-01-08", DoneBy.SERVICE),
        ("report --since 7d", DoneBy.SERVICE),
        ("config history a", DoneBy.SERVICE),
        ("config rollback a --to 3", DoneBy.POD),
        ("backfill status", DoneBy.SERVICE),
        ("backfill status b -o json", DoneBy.SERVICE),
        ("backfill a --from 2026-01-01 --to 2026-01-02", DoneBy.POD),
        ("backfill cancel b", DoneBy.POD),
        ("watermark a", DoneBy.SERVICE),
        ("watermark -o json a", DoneBy.SERVICE),
        ("watermark a 2026-01-08", DoneBy.POD),
        ("watermark --reason late a 2026-01-08", DoneBy.POD),
        ("watermark a --clear", DoneBy.POD),
        ("spool list --sink w", DoneBy.SERVICE),
        ("spool list --dir d", DoneBy.POD),
        ("spool list --on-disk", DoneBy.POD),
        ("spool drop --all", DoneBy.POD),
        ("next sync_orders -n 3", DoneBy.SERVICE),
        ("next '30 2 * * *' -n 3", DoneBy.PLUGIN),
        ("next -f schedules.yaml", DoneBy.PLUGIN),
        ("jobs --dsn=mysql://elsewhere", DoneBy.POD),
        ("pause a", DoneBy.POD),
        ("settings", DoneBy.POD),
        ("db check", DoneBy.POD),
        ("export a", DoneBy.SERVICE),
        ("diff -f manifests", DoneBy.SERVICE),
        ("plan -f manifests", DoneBy.SERVICE),
        ("validate -f manifests", DoneBy.PLUGIN),
        ("import crontab -", DoneBy.PLUGIN),
        ("uninstall --dry-run", DoneBy.PLUGIN),
        ("completion bash", DoneBy.PLUGIN),
    ],
)
def test_the_web_service_does_what_only_reads_and_a_pod_what_else_needs_the_release(
    command: str, by: DoneBy
) -> None:
    assert done_by(shlex.split(command)) is by


@pytest.mark.parametrize("command", ["runs -h", "pause a --help", "db", "config", "backfill", "no_command a"])
def test_what_a_command_means_is_said_without_a_release(command: str) -> None:
    assert done_by(command.split()) is DoneBy.PLUGIN


@pytest.mark.parametrize("command", ["watermark a --cleer", "jobs --no-such-option", "runs -n many"])
def test_a_mistake_in_a_read_is_said_as_beside_the_database(command: str) -> None:
    assert done_by(command.split()) is DoneBy.SERVICE


def test_what_the_table_says_of_commands_is_said_of_commands_that_there_are() -> None:
    every = get_command(program())
    assert isinstance(every, TyperGroup)
    for name, known in SUBCOMMANDS.items():
        found = every.commands[name]
        leaves = found.commands if isinstance(found, TyperGroup) else {"": found}
        assert set(known.reads) <= set(leaves), name
        for leaf, reading in known.reads.items():
            parameters = {parameter.name for parameter in leaves[leaf].params}
            assert {*reading.unless, *({reading.of_job} - {None})} <= parameters, (name, leaf)
            assert "dsn" in parameters, f"{name} {leaf} reads a database"


def test_the_options_of_a_command_are_those_of_all_its_commands() -> None:
    assert options_of("runs")["-n"] == "Maximum number of runs."
    assert "-n" not in options_of("pause"), "where it is the namespace of kubectl"
    assert "--namespace" in options_of("pause"), "a filter of its own"
    assert options_of("no_command") == {}


def test_the_reads_are_named_as_they_are_typed() -> None:
    assert readings() == [
        *("backfill status", "config history", "diff", "export", "jobs", "late", "logs", "next", "plan"),
        *("report", "runs list", "runs show", "spool list", "status", "watermark", "why"),
    ]
