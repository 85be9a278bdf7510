"""What one team puts into its resources and Secrets is its own trouble; the other team's go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from piko.store.engine import open_database
from piko_operator.nesting import read_answer
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.operator.conftest import RULES, World, create_tables
from tests.operator.tenants import Team, bind, resource, secret
from tests.poisons import POISONS, Poison, nested

_SECRETS = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
_AS_SECRETS = [poison for poison in POISONS if len(poison.text) < 900_000]
_AS_CONFIGS = {
    "2000-deep": nested(2_000),
    "9000-deep": nested(9_000),
    "lists": '{"a":' + "[" * 2_000 + "]" * 2_000 + "}",
    "too-deep": nested(32),
    "long-number": '{"a": ' + "9" * 5_000 + "}",
    "large": '{"a": "' + "x" * 1_100_000 + '"}',
    "surrogate": r'{"a": "\ud800"}',
}

_REFUSED_BY_THE_SERVER = {"long-number"}


@pytest.fixture
async def served(
    mariadb: TestDatabase,
    teams: tuple[Team, Team],
    crds: ControlPlane,
    namespace: str,
    make_world: Callable[[TestDatabase], World],
) -> World:
    """Both teams have the one operator; it may read their Secrets."""
    names = [team.namespace for team in teams]
    bind(crds, "piko-operator", RULES + _SECRETS, account=(namespace, "operator"), namespaces=names)
    world = make_world(await create_tables(mariadb))
    world.start(PIKO_OPERATOR_NAMESPACES=",".join(names), PIKO_OPERATOR_SWEEP_INTERVAL_S="30")
    return world


def _synced(team: Team, plural: str = "pikojobconfigs") -> dict[str, dict[str, Any]]:
    """The condition Synced of each of a team's resources."""
    _, answer = team.kubectl("get", f"--raw=/apis/piko.dev/v1/namespaces/{team.namespace}/{plural}")
    found: dict[str, dict[str, Any]] = {}
    for item in read_answer(answer.encode())["items"]:
        for condition in item.get("status", {}).get("conditions", []):
            if condition["type"] == "Synced":
                found[item["metadata"]["name"]] = condition
    return found


def _held(team: Team) -> dict[str, Any]:
    """The condition Synced of the schedule `held`; empty until there is one."""
    return _synced(team, "pikoschedules").get("held", {})


def _name(poison: Poison) -> str:
    return "".join(c if c.isalnum() else "-" for c in poison.name.lower()).strip("-")


def _put_poisons(team: Team) -> set[str]:
    """Every poison as a Secret that a config names, and as a config; the names of the resources."""
    team.apply(*(secret(_name(poison), k=poison.text) for poison in _AS_SECRETS))
    references = {
        f"s-{name}": {"secretKeyRef": {"name": name, "key": "k"}} for name in map(_name, _AS_SECRETS)
    }
    team.apply(
        *(
            resource("PikoJobConfig", name, jobId=f"a.{name}", configFrom=[reference])
            for name, reference in references.items()
        )
    )
    names = set(references)
    for name, config in _AS_CONFIGS.items():
        body = json.dumps(resource("PikoJobConfig", f"c-{name}", jobId=f"a.{name}", config="HERE"))
        # kubectl would indent it, which is a square of its depth.
        path = f"--raw=/apis/piko.dev/v1/namespaces/{team.namespace}/pikojobconfigs"
        code, said = team.kubectl(
            "create", path, "-f", "-", stdin=body.replace('"HERE"', config), check=False
        )
        if code == 0:
            names.add(f"c-{name}")
        else:
            assert name in _REFUSED_BY_THE_SERVER, said
    return names


async def test_a_poison_is_a_condition_of_its_resource_and_nobody_elses(
    served: World, teams: tuple[Team, Team]
) -> None:
    a, b = teams
    names = _put_poisons(a)
    b.apply(
        resource("PikoSchedule", "s", jobId="b", schedule={"cron": "@hourly"}),
        resource("PikoJobConfig", "c", jobId="b", config={"x": 1}),
    )
    before = time.monotonic()
    await served.until_row("SELECT job_id FROM scheduled_job", [("b",)])
    await served.until_row("SELECT job_id FROM job_config WHERE job_id = 'b'", [("b",)])
    print(f"the other team's rows were there after {time.monotonic() - before:.2f} s")
    found = await wait_until_async(
        lambda: c if (c := _synced(a)).keys() >= names else None, what="all conditions"
    )
    by_name = {f"s-{_name(poison)}": poison for poison in _AS_SECRETS}
    for name, condition in found.items():
        assert len(condition["message"]) < 1_000, name
        if name in by_name:
            assert (condition["status"], condition["reason"]) == ("False", "SecretUnavailable"), name
            assert by_name[name].said in condition["message"], name
            assert f"secret {a.namespace}/{name[2:]}, key 'k'" in condition["message"]
        elif condition["status"] == "False":
            assert condition["reason"] == "InvalidSpec"
            assert "spec.config" in condition["message"]
    assert found["c-2000-deep"]["reason"] == "InvalidSpec"


async def test_fifty_poisons_do_not_delay_the_other_team(served: World, teams: tuple[Team, Team]) -> None:
    a, b = teams
    a.apply(*(secret(f"p{n}", k=poison.text) for n, poison in enumerate(_AS_SECRETS) if n < 10))
    a.apply(
        *(
            resource(
                "PikoJobConfig",
                f"p{n}",
                jobId=f"a.p{n}",
                configFrom=[{"secretKeyRef": {"name": f"p{n % 10}", "key": "k"}}],
            )
            for n in range(50)
        )
    )
    await wait_until_async(lambda: len(_synced(a)) == 50, what="50 conditions")
    for n in range(3):
        b.apply(resource("PikoSchedule", f"s{n}", jobId=f"b.{n}", schedule={"cron": "@hourly"}))
        before = time.monotonic()
        await served.until_row(f"SELECT job_id FROM scheduled_job WHERE job_id = 'b.{n}'", [(f"b.{n}",)])
        print(f"beside 50 poisons a row was there after {time.monotonic() - before:.2f} s")


async def test_a_row_that_a_transaction_holds_open_delays_no_other(
    served: World, teams: tuple[Team, Team]
) -> None:
    a, b = teams
    a.apply(resource("PikoSchedule", "held", jobId="a.held", schedule={"cron": "@hourly"}))
    await served.until_row("SELECT job_id FROM scheduled_job", [("a.held",)])
    database = open_database(served.database.dsn)
    try:
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE scheduled_job SET priority = 1 WHERE job_id = 'a.held'"))
            a.apply(resource("PikoSchedule", "held", jobId="a.held", schedule={"cron": "@daily"}))
            b.apply(resource("PikoSchedule", "s", jobId="b", schedule={"cron": "@hourly"}))
            await served.until_row("SELECT job_id FROM scheduled_job WHERE job_id = 'b'", [("b",)])
            busy = await wait_until_async(
                lambda: c if (c := _held(a)).get("reason") == "RowBusy" else None,
                what="the condition of the held row",
            )
            assert "commit or roll back the transaction" in busy["message"]
    finally:
        await database.close()
    await served.until_row(
        "SELECT schedule_expr, priority FROM scheduled_job WHERE job_id = 'a.held'",
        [('{"cron":"@daily"}', 0)],
    )
