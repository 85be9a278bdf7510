"""Who may `exec` in a pod of the release does there by `kubectl piko` whatever is no read.

Their `kubectl` lists one pod, and runs in a process of this machine what is asked to run there. That the real
one finds pods, and asks the API server whether it may, is in `test_kubectl.py`.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

from piko.cli import program
from piko.cli.subcommands import SUBCOMMANDS
from piko.store.schema.migrate import upgrade
from tests.cli.piko import OK, kubectl_piko
from tests.harness.databases import TestDatabase
from tests.web.rows import add_one_of_each

_KUBECTL = """#!/bin/sh
case " $* " in
*" get pods "*) echo '{"items": [{"metadata": {"name": "one", "namespace": "data",
  "labels": {"piko.dev/component": "runtime", "app.kubernetes.io/instance": "piko"}}}]}' ;;
*" get pikoschedules"* | *" get pikobackfills"*) echo '{"items": []}' ;;
*" whoami "*) echo '{"status": {"userInfo": {"username": "maria"}}}' ;;
*" can-i "*) echo yes ;;
*) while [ "$1" != -- ]; do shift; done; shift; exec "$@" ;;
esac
"""
_ACTS = (
    "pause a --reason nightly",
    "resume a",
    "trigger b:c",
    "edit a --set priority=3",
    "watermark a 2026-01-08T00:00Z",
    "backfill start a --from 2026-01-01 --to 2026-01-02",
    "backfill pause backfill-1",
    "backfill resume backfill-1",
    "backfill cancel backfill-1",
    "runs cancel run-003",
    "runs retry run-001",
    "config rollback a --to 1",
    "config encrypt",
    "spool replay letter-000",
    "spool drop letter-001",
    "forget deleted",
    "settings",
    "db upgrade",
    "db check",
    "db dump",
)


def _typed() -> set[str]:
    """What is typed of each command that is done in a pod."""
    every = get_command(program())
    assert isinstance(every, TyperGroup)
    found = set()
    for name, known in SUBCOMMANDS.items():
        command = every.commands[name]
        leaves = list(command.commands) if isinstance(command, TyperGroup) else [""]
        if not known.here and known.absent is None:
            reads = {leaf for leaf, reading in known.reads.items() if not reading.unless}
            found |= {f"{name} {leaf}".strip() for leaf in leaves if leaf not in reads}
    return found - {"spool list"}


def test_every_command_that_is_no_read_is_tried() -> None:
    assert {typed for typed in _typed() if not any(act.startswith(typed) for act in _ACTS)} == set()


async def test_each_act_is_done_in_a_pod_in_the_name_of_the_person(
    sqlite: TestDatabase, tmp_path: Path
) -> None:
    await upgrade(sqlite.dsn)
    await add_one_of_each(sqlite)
    await sqlite.execute("INSERT INTO job_state (job_id, status) VALUES ('deleted', 'Scheduled')")
    tool = tmp_path / "kubectl"
    tool.write_text(_KUBECTL, encoding="utf-8")
    tool.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "PIKO_MYSQL_DSN": sqlite.dsn,
        "PIKO_CONFIG_KEY": base64.b64encode(bytes(32)).decode(),
    }
    for act in _ACTS:
        answer = await asyncio.to_thread(
            kubectl_piko,
            *("-n", "data", *act.split()),
            cwd=tmp_path,
            kubeconfig=tmp_path / "none",
            **environment,
        )
        assert (answer.code, answer.err) == (OK, ""), act
    rows = await sqlite.execute(
        "SELECT who, what FROM change_log WHERE via = 'cli' AND change_id <> 'change-1'"
    )
    assert {who for who, _ in rows} == {"maria"}
    changed = 15
    assert len(rows) >= changed, rows
