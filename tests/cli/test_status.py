"""Incidents are found by `piko status` alone, on a real database."""

from __future__ import annotations

import asyncio
import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from piko.persistence.codec import encode
from piko.spool.intents import DeadIntent, SpoolFile
from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, piko_here
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.persistence.writing import intent
from tests.web.clients import serving

LEADER = (
    "INSERT INTO leader_lease (name, epoch, holder, holder_host, acquired_at, expires_at) "
    "VALUES ('default', 7, 'one', 'host-one', '2026-01-01', '2999-01-01')"
)
JOB = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, last_data_time) "
    "VALUES ('orders', 'cron', '{\"hour\": 3}', NULL)"
)
STATE = "INSERT INTO job_state (job_id, status, message, next_run_at) VALUES ('orders', "
WELL = [LEADER, JOB, STATE + "'Scheduled', NULL, '2999-01-01')"]
FAILED = "UPDATE job_state SET consecutive_failures = 3, last_state = 'FAILED'"
STATEFUL = (
    "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id) "
    "VALUES ('orders', 'demo', 'app:orders', 1, 'h', 'one')"
)

INCIDENTS: dict[str, tuple[list[str], str, str, str]] = {
    "no leader": ([JOB], "no_leader", "no replica has led yet", "piko run"),
    "an expired lease": (
        [*WELL, "UPDATE leader_lease SET expires_at = '2026-01-02'"],
        "no_leader",
        "the lease of host-one expired",
        "/readyz",
    ),
    "a failing job": (
        [
            *WELL,
            FAILED + ", last_error = 'KeyError: 7'",
        ],
        "failing",
        "3 runs in a row failed; it has never succeeded",
        "piko logs orders",
    ),
    "an invalid row": (
        [*WELL, "UPDATE job_state SET status = 'Invalid', message = 'cron field hour is wrong'"],
        "invalid",
        "cron field hour is wrong",
        "piko edit orders --set FIELD=VALUE",
    ),
    "late data": (
        [*WELL, STATEFUL, "UPDATE scheduled_job SET last_data_time = '2026-01-01 03:00:00'"],
        "late_data",
        "more than one window behind",
        "piko why orders",
    ),
    "a late job": (
        [*WELL, "UPDATE job_state SET next_run_at = '2026-01-01'"],
        "late",
        "has not started",
        "piko why orders",
    ),
    "a broken objective": (
        [*WELL, "UPDATE scheduled_job SET data_within_s = 60, created_at = '2026-01-01 00:00:00'"],
        "late",
        "a run had to succeed by 2026-01-01T03:01:00Z, and no run has succeeded yet",
        "piko why orders",
    ),
    "a job that is late by both rules": (
        [
            *WELL,
            "UPDATE job_state SET next_run_at = '2026-01-01'",
            "UPDATE scheduled_job SET start_within_s = 60, created_at = '2026-01-01 00:00:00'",
        ],
        "late",
        "a run had to start by 2026-01-01T03:01:00Z, and has not",
        "piko why orders",
    ),
    "dropped data": (
        [*WELL, "UPDATE job_state SET given_up_from = '2026-01-01', given_up_to = '2026-01-02'"],
        "data_dropped",
        "has dropped data",
        "piko jobs orders",
    ),
    "refused records": (
        [
            *WELL,
            "INSERT INTO job_run (run_id, job_id, scheduled_time, state, error) "
            "VALUES ('r1', 'orders', '2026-01-01', 'SUCCESS', 'records refused: 2 by sink w')",
            "UPDATE job_state SET last_run_id = 'r1', last_error = 'records refused: 2 by sink w'",
        ],
        "records_refused",
        "2 by sink w",
        "piko spool list --run r1",
    ),
    "a resource that vanished": (
        [
            *WELL,
            "INSERT INTO orphaned_row (table_name, job_id, managed_by, found_at) "
            "VALUES ('scheduled_job', 'orders', 'c/ns/orders/u', '2026-01-01')",
        ],
        "resource_missing",
        "c/ns/orders/u",
        "apply the resource again",
    ),
}


async def status(database: TestDatabase, folder: Path, *options: str) -> Any:
    return await asyncio.to_thread(piko_here, "status", *options, cwd=folder, dsn=database.dsn)


async def stage(database: TestDatabase, statements: list[str]) -> None:
    for statement in statements:
        await database.execute(statement)


async def test_where_all_is_well_it_says_so_and_what_is_next(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    await stage(emptied_database, WELL)
    answer = await status(emptied_database, tmp_path)
    assert answer.code == OK, answer.out
    assert "leader    host-one" in answer.out
    assert "nothing is wrong" in answer.out
    document = json.loads((await status(emptied_database, tmp_path, "-o", "json")).out)
    assert document["well"] is True
    assert document["troubles"] == []


@pytest.mark.parametrize("incident", INCIDENTS)
async def test_an_incident_is_found_with_what_to_do(
    emptied_database: TestDatabase, tmp_path: Path, incident: str
) -> None:
    statements, kind, text, remedy = INCIDENTS[incident]
    await stage(emptied_database, statements)
    async with serving(emptied_database) as web:
        for _ in range(2):  # the day may turn between two answers, and with it the age that they tell
            answer = await status(emptied_database, tmp_path, "-o", "json")
            assert answer.code == NEEDS_ACTION
            (trouble,) = json.loads(answer.out)["troubles"]
            of_api = (await web.get("/api/v1/attention")).json()["troubles"]
            page = unescape((await web.get("/")).text)
            sentence = f"{trouble['text'][:1].upper()}{trouble['text'][1:]}."
            if of_api == [trouble] and sentence in page:
                break
    assert of_api == [trouble], "the API says the same"
    assert trouble["kind"] == kind
    assert text in trouble["text"]
    assert remedy in trouble["remedy"]
    shown = await status(emptied_database, tmp_path)
    assert shown.code == NEEDS_ACTION
    assert text in shown.out
    assert all(said in page for said in (sentence, trouble["remedy"], trouble["error"] or ""))


async def test_a_run_of_an_objective_that_has_not_ended_in_time_is_found(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    """Its due time lies behind the cursor, so only the run says that it is overdue."""
    await stage(
        emptied_database,
        [
            *WELL,
            "UPDATE job_state SET cursor_at = '2026-01-09'",
            "UPDATE scheduled_job SET finish_within_s = 60, created_at = '2026-01-01 00:00:00'",
            "INSERT INTO job_run (run_id, job_id, scheduled_time, state, attempt) "
            "VALUES ('r1', 'orders', '2026-01-08 03:00:00', 'RUNNING', 1)",
        ],
    )
    answer = await status(emptied_database, tmp_path)
    assert "a run had to end by 2026-01-08T03:01:00Z, and has not" in answer.out


async def test_a_replica_that_fell_silent_is_found(emptied_database: TestDatabase, tmp_path: Path) -> None:
    """One whose event loop is blocked writes no heartbeat, either."""
    ago = (
        "datetime('now', '-5 minutes')"
        if emptied_database.dsn.startswith("sqlite")
        else "UTC_TIMESTAMP() - INTERVAL 5 MINUTE"
    )
    row = (
        "INSERT INTO runtime_instance (instance_id, app, host, pid, version, started_at, heartbeat_at) "
        f"VALUES ('one', 'demo', 'host-one', 7, '1', {ago}, {ago})"
    )
    await stage(emptied_database, [*WELL, row])
    answer = await status(emptied_database, tmp_path)
    assert answer.code == NEEDS_ACTION
    assert "replica host-one" in answer.out
    assert "its event loop is blocked" in answer.out
    said = " ".join(answer.out.split())
    assert "in a cluster: kubectl delete pod host-one;" in said
    assert "on a machine: end process 7 if it is there, and start the replica again;" in said
    assert "it is listed for 60m after its last heartbeat" in said


async def test_dead_letters_and_a_stuck_sink_are_found_beside_the_spool(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    await stage(emptied_database, WELL)
    folder = tmp_path / ".piko" / "spool"
    folder.mkdir(parents=True)
    file = SpoolFile(folder / "one.spool")
    file.put([("warehouse", encode(intent(key, {"n": key}, sink="warehouse"))) for key in "abc"])
    (first, *_) = file.fetch("warehouse", after=0, limit=1)
    file.bury("warehouse", [DeadIntent("ValueError: no", first.id)])
    file.close()
    answer = await status(emptied_database, tmp_path)
    assert answer.code == NEEDS_ACTION
    assert "2 intents wait on disk for it" in answer.out
    assert "it refused 1 records" in answer.out


async def test_a_paused_job_is_no_trouble(emptied_database: TestDatabase, tmp_path: Path) -> None:
    await stage(
        emptied_database,
        [
            *WELL,
            FAILED,
            "UPDATE scheduled_job SET enabled = 0",
        ],
    )
    assert (await status(emptied_database, tmp_path)).code == OK


def test_a_database_that_is_away_is_found(tmp_path: Path) -> None:
    dsn = f"mysql+asyncmy://u:secret@127.0.0.1:{free_port()}/piko"
    answer = piko_here("status", cwd=tmp_path, dsn=dsn)
    assert answer.code == NEEDS_ACTION
    assert "not available" in answer.out
    assert "secret" not in answer.out


async def test_a_database_that_refuses_the_user_is_found(mariadb: TestDatabase, tmp_path: Path) -> None:
    dsn = make_url(mariadb.dsn).set(username="nobody", password="secret")
    other = TestDatabase(kind=mariadb.kind, dsn=dsn.render_as_string(hide_password=False))
    answer = await status(other, tmp_path, "-o", "json")
    assert answer.code == NEEDS_ACTION
    (trouble,) = json.loads(answer.out)["troubles"]
    assert trouble["kind"] == "database"
    assert "Access denied for user 'nobody'" in trouble["text"]
    assert "secret" not in answer.out


async def test_tables_that_are_missing_or_changed_are_found(sqlite: TestDatabase, tmp_path: Path) -> None:
    missing = await status(sqlite, tmp_path)
    assert missing.code == NEEDS_ACTION
    assert "> piko db upgrade" in missing.out
    assert (await asyncio.to_thread(piko_here, "db", "upgrade", cwd=tmp_path, dsn=sqlite.dsn)).code == OK
    await stage(sqlite, [*WELL, "DROP INDEX ix_job_run_finished"])
    changed = await status(sqlite, tmp_path)
    assert changed.code == NEEDS_ACTION
    assert "ix_job_run_finished" in changed.out
    assert "> piko db check" in changed.out


# ---- why and logs ---------------------------------------------------------------------------------


async def test_why_names_what_holds_a_job_back_now_and_at_an_instant(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    passed = (
        "INSERT INTO job_run (run_id, job_id, scheduled_time, state, missed_through, missed_count, error) "
        "VALUES ('m1', 'orders', '2026-01-02 03:00:00', 'MISSED', '2026-01-04 03:00:00', 3, 'too late')"
    )
    await stage(emptied_database, [JOB, passed, "UPDATE scheduled_job SET enabled = 0"])

    async def why(*arguments: str) -> str:
        answer = await asyncio.to_thread(piko_here, "why", *arguments, cwd=tmp_path, dsn=emptied_database.dsn)
        assert answer.code == OK, answer.err
        return answer.out

    standing = await why("orders")
    assert "no replica has led yet" in standing
    assert "it is paused (enabled = 0); piko resume orders" in standing
    assert "MISSED, attempt 1: too late" in await why("orders", "2026-01-03T03:00")
    assert "is no due time" in await why("orders", "2026-01-03T04:00")
    assert "is a due time without a run" in await why("orders", "2026-01-05T03:00")
    assert "is still to come" in await why("orders", "2999-01-05T03:00")


async def test_why_says_first_that_a_job_fails_and_names_equal_errors_once(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    runs = ", ".join(
        f"('r{hour}', 'orders', '2026-01-08 0{hour}:00:00', 'FAILED', '2026-01-08 0{hour}:00:00', '{error}')"
        for hour, error in ((1, "KeyError: 7"), (2, "the source is down"), (3, "the source is down"))
    )
    insert = "INSERT INTO job_run (run_id, job_id, scheduled_time, state, started_at, error) VALUES "
    failing = "UPDATE job_state SET consecutive_failures = 3, last_state = 'FAILED'"
    await stage(emptied_database, [*WELL, insert + runs, failing])

    async def why(*words: str) -> Any:
        words = ("why", "orders", *words)
        return await asyncio.to_thread(piko_here, *words, cwd=tmp_path, dsn=emptied_database.dsn)

    first, *others = (await why()).out.splitlines()
    assert first.startswith("failing: 3 runs in a row failed")
    assert first.endswith("; piko logs orders")
    assert others == [
        "2026-01-08T02:00:00Z to 2026-01-08T03:00:00Z: FAILED, 2 attempts: the source is down; piko logs r3",
        "2026-01-08T01:00:00Z: FAILED, attempt 1: KeyError: 7; piko logs r1",
    ]
    assert len(json.loads((await why("-o", "json")).out)["reasons"]) == 3
    await emptied_database.execute("UPDATE job_state SET consecutive_failures = 0, last_state = 'SUCCESS'")
    assert (await why()).out.splitlines() == others
    late = "UPDATE job_state SET next_run_at = '2026-01-08 04:00:00'"
    await emptied_database.execute(late)
    assert (await why()).out.startswith("late: it was due ")


async def test_why_says_first_which_objective_a_late_job_has_broken(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    promise = "UPDATE scheduled_job SET data_within_s = 60, created_at = '2026-01-01 00:00:00'"
    await stage(emptied_database, [*WELL, promise])
    answer = await asyncio.to_thread(piko_here, "why", "orders", cwd=tmp_path, dsn=emptied_database.dsn)
    assert answer.out.splitlines() == [
        "late: a run had to succeed by 2026-01-01T03:01:00Z, and no run has succeeded yet",
        "it has no runs yet: it begins at its next due time, 2999-01-01T00:00:00Z",
    ]


async def test_why_says_when_a_new_row_with_an_old_watermark_begins_and_what_starts_it_at_once(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    behind = "UPDATE scheduled_job SET last_data_time = '2026-01-01 03:00:00'"
    await stage(emptied_database, [*WELL, STATEFUL, behind])
    answer = await asyncio.to_thread(piko_here, "why", "orders", cwd=tmp_path, dsn=emptied_database.dsn)
    assert answer.out.splitlines() == [
        "late data: its data is more than one window behind",
        "it has no runs yet: it begins at its next due time, 2999-01-01T00:00:00Z, with the windows after "
        "its watermark, 2026-01-01T03:00:00Z; piko watermark orders INSTANT, another one, runs the windows "
        "after that at once",
    ]
    same = ("watermark", "orders", "2026-01-01T03:00:00Z")
    moved = await asyncio.to_thread(piko_here, *same, cwd=tmp_path, dsn=emptied_database.dsn)
    assert "is 2026-01-01 03:00:00Z already: nothing moves" in moved.out


async def test_logs_show_a_run_by_its_id_or_its_job(emptied_database: TestDatabase, tmp_path: Path) -> None:
    run = (
        "INSERT INTO job_run (run_id, job_id, scheduled_time, state, started_at, error) "
        "VALUES ('r1', 'orders', '2026-01-01', 'FAILED', '2026-01-01', 'KeyError: 7')"
    )
    log = (
        "INSERT INTO run_log (run_id, job_id, head, tail, line_count, left_out, progress_done, result) "
        "VALUES ('r1', 'orders', 'one', 'nine', 9, 7, 3, '{\"rows\": 3}')"
    )
    await stage(emptied_database, [JOB, run, log])

    async def logs(*arguments: str) -> Any:
        return await asyncio.to_thread(piko_here, "logs", *arguments, cwd=tmp_path, dsn=emptied_database.dsn)

    for named in ("r1", "orders"):
        shown = (await logs(named)).out.splitlines()
        assert shown[1:] == [
            "one",
            "… 7 lines were left out …",
            "nine",
            "# progress: 3",
            '# result: {"rows": 3}',
            "# FAILED: KeyError: 7",
        ]
    assert (await logs("r1", "-f")).out.splitlines()[1:3] == shown[1:3]
    document = json.loads((await logs("r1", "-o", "json")).out)
    assert (document["run"]["state"], document["log"]["left_out"]) == ("FAILED", 7)
    unknown = await logs("order")
    assert unknown.code == CANNOT
    assert "did you mean `orders`?" in unknown.err


async def test_late_names_the_jobs_that_are_late_and_no_other_trouble(
    emptied_database: TestDatabase, tmp_path: Path
) -> None:
    async def late(*options: str) -> Any:
        return await asyncio.to_thread(piko_here, "late", *options, cwd=tmp_path, dsn=emptied_database.dsn)

    await stage(emptied_database, [*WELL, "UPDATE job_state SET consecutive_failures = 3"])
    answer = await late()
    assert (answer.code, answer.out) == (OK, "no job is late\n")
    promise = "UPDATE scheduled_job SET data_within_s = 60, created_at = '2026-01-01 00:00:00'"
    await stage(emptied_database, [promise])
    answer = await late()
    assert answer.code == NEEDS_ACTION
    assert "a run had to succeed by 2026-01-01T03:01:00Z" in answer.out
    (found,) = json.loads((await late("-o", "json")).out)["late"]
    assert (found["subject"], found["since"]) == ("orders", "2026-01-01T03:01:00Z")
