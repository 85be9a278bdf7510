"""Secret parts of rows that the operator writes, on a real API server: encrypted, compared in plain text."""

from __future__ import annotations

import base64
import json

from piko.config_keys import read_config_keys
from tests.harness.processes import ChildProcess
from tests.harness.waiting import PATIENTLY
from tests.operator.conftest import World, grant

_SECRETS = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]
_OLD, _NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
_PLAIN = '{"password":"hunter2"}'


async def test_rows_are_encrypted_compared_in_plain_text_and_never_written_with_another_key(
    world: World,
) -> None:
    grant(world.control_plane, world.namespace, _SECRETS, name="piko-operator-sources")
    world.kubectl("create", "secret", "generic", "s", "--from-literal=password=hunter2")
    first = world.start(PIKO_CONFIG_KEY=_OLD)
    reference = {"secretKeyRef": {"name": "s", "key": "password", "path": "password"}}
    world.apply("PikoJobConfig", "c", jobId="job", config={"a": 1}, configFrom=[reference])
    await world.until_condition("pjc", "c", "Synced", reason="Synced")
    sealed = read_config_keys(_OLD).seal("job", _PLAIN)
    assert sealed is not None
    assert await _row(world) == (1, sealed)

    # What is stored in plain text, by SQL or before there was a key, is no drift; an edit beside it is.
    await world.database.execute(f"UPDATE job_config SET secret_json = '{_PLAIN}', config_json = '{{}}'")
    await world.until_row("SELECT version, secret_json FROM job_config", [(2, sealed)])
    await world.database.execute(f"UPDATE job_config SET secret_json = '{_PLAIN}'")
    printed = [await _restarted(world, first)]
    assert await _row(world) == (2, _PLAIN)
    await world.database.execute(f"UPDATE job_config SET secret_json = '{sealed}'")

    # Another key, or none, leaves the row alone and says what to do.
    for settings in ({"PIKO_CONFIG_KEY": _NEW}, {}):
        without = world.start(**settings)
        condition = await world.until_condition("pjc", "c", "Synced", reason="SecretUnreadable")
        assert "add that key to PIKO_CONFIG_KEY" in condition["message"]
        assert "hunter2" not in json.dumps(world.read("pjc", "c"))
        stalled = world.condition("pjc", "c", "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "SecretUnreadable")
        assert await _row(world) == (2, sealed)
        without.terminate()
        printed.append(without.output)

    # With both keys nothing is written for the sake of the newer one; a lost key is got over by NULL.
    both = world.start(PIKO_CONFIG_KEY=f"{_NEW},{_OLD}")
    await world.until_condition("pjc", "c", "Synced", reason="Synced")
    assert await _row(world) == (2, sealed)
    await world.database.execute("UPDATE job_config SET secret_json = NULL")
    again = read_config_keys(_NEW).seal("job", _PLAIN)
    await world.until_row("SELECT version, secret_json FROM job_config", [(3, again)])
    both.terminate()
    for text in (*printed, both.output):
        assert "hunter2" not in text
        assert _OLD not in text
        assert _NEW not in text


async def _row(world: World) -> tuple[int, str]:
    ((version, secret),) = await world.database.execute("SELECT version, secret_json FROM job_config")
    return version, secret


async def _restarted(world: World, process: ChildProcess) -> str:
    """What it printed; another operator has compared everything since."""
    process.terminate()
    again = world.start(PIKO_CONFIG_KEY=_OLD)
    for name in ("later", "last"):  # each takes a round after the one of what was there
        world.apply("PikoJobConfig", name, jobId=name, config={})
        await world.until_condition("pjc", name, "Synced", reason="Synced")
        world.kubectl("delete", "pjc", name, PATIENTLY)
        await world.until_row("SELECT job_id FROM job_config", [("job",)])
    again.terminate()
    return process.output + again.output
