"""The examples that authors are promised, code and SQL as printed, on MariaDB: each does what it says."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, leader_of, schedule, until_runs
from tests.seed.conftest import Trial, printed
from tests.seed.web import open_web


async def test_thirty_seconds_to_a_first_job(replicas: Replicas, migrated_mariadb: TestDatabase) -> None:
    replicas.write(printed("quickstart.py"))
    replica = replicas.start(migrated_mariadb.dsn, "app.py")
    await migrated_mariadb.execute(printed("quickstart.sql"))
    line = replica.process.wait_for_line("^hello ")
    _, run_id, *moment = line.split()
    assert datetime.fromisoformat(" ".join(moment)).second % 10 == 0
    await until_runs(migrated_mariadb, "hello_job", 1)
    [(recorded,)] = await migrated_mariadb.execute(
        "SELECT run_id FROM job_run WHERE job_id = 'hello_job' AND state = 'SUCCESS' "
        "ORDER BY scheduled_time LIMIT 1"
    )
    assert recorded == run_id
    assert replica.process.terminate() == 0


async def test_example_1_a_minimal_job_and_its_schedule(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    replicas.write(printed("example_01.py"))
    replica = replicas.start(migrated_mariadb.dsn, "-m", "uvicorn", "app:api_app", "--port", "{port}")
    await migrated_mariadb.execute(printed("example_01.sql"))
    line = replica.process.wait_for_line("^run_id= ")
    reported = re.fullmatch(r"run_id= \S+ scheduled_time= (\S+ \S+) config= \{\}", line)
    assert reported is not None, line
    assert datetime.fromisoformat(reported[1]).second % 5 == 0
    await until_runs(migrated_mariadb, "mini_job", 1)
    await replica.until_ready()
    replica.process.terminate()


async def test_example_2_many_pages_at_once(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_web(tmp_path, "example.com", "www.python.org") as web:
        monkeypatch.setenv("HTTPS_PROXY", web.proxy)
        monkeypatch.setenv("SSL_CERT_FILE", str(web.authority))
        module = trial.load("example_02.py")
        await trial.every_second("sweep_http")
        async with trial.running(module):
            assert await trial.until_printed("ok=") == "ok= 2 total= 2"
            await trial.succeeded("sweep_http")
    assert {"example.com:443", "www.python.org:443"} == set(web.requests)


async def test_example_3_fan_out_and_fan_in(trial: Trial) -> None:
    module = trial.load("example_03.py")
    await trial.every_second("fanout_fanin")
    async with trial.running(module):
        assert await trial.until_printed("sum=") == f"sum= {sum(x * x for x in range(1, 501))}"
        await trial.succeeded("fanout_fanin")


async def test_example_4_producer_and_consumers(trial: Trial) -> None:
    module = trial.load("example_04.py")
    await trial.every_second("producer_consumer")
    async with trial.running(module):
        assert await trial.until_printed("total_processed=") == "total_processed= 5000"
        await trial.succeeded("producer_consumer")


async def test_example_5_input_and_processors(trial: Trial) -> None:
    module = trial.load("example_05.py")
    await trial.every_second("io_plus_cpu")
    async with trial.running(module) as app:
        assert await trial.until_printed("done:") == "done: 1000 sample: 0"
        computed = app.metrics.registry.get_sample_value("piko_cpu_items_total", {"outcome": "ok"})
        assert computed >= 1000


async def test_example_6_1_blocking_calls_in_threads(trial: Trial) -> None:
    module = trial.load("example_06_1.py")
    # The example bounds itself to 100 at once; Python's own number of threads depends on the machine.
    with ThreadPoolExecutor(100) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        await trial.every_second("to_thread_demo")
        async with trial.running(module):
            assert await trial.until_printed("done") == "done 1000"
            await trial.succeeded("to_thread_demo")


async def test_example_6_2_one_heavy_call_from_the_main_module(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    """`python app.py`: the function belongs to `__main__`, which no worker process may run again."""
    replicas.write(printed("example_06_2.py") + '\n\nprint("loaded")\napp.run()\n')
    await schedule(migrated_mariadb, "cpu_submit_demo")
    replica = replicas.start(migrated_mariadb.dsn, "app.py")
    assert replica.process.wait_for_line("^res=") == "res= 42"
    await until_runs(migrated_mariadb, "cpu_submit_demo", 1)
    assert replica.process.terminate() == 0
    assert replica.process.output.count("loaded") == 1


async def test_example_7_the_windows_of_three_hours_of_downtime_are_caught_up(trial: Trial) -> None:
    module = trial.load("example_07.py")
    await trial.sql("example_07.sql")
    ten = datetime(2026, 1, 8, 10, tzinfo=UTC)
    trial.set_clock(ten - timedelta(minutes=10))
    async with trial.running(module):
        await trial.until_scheduled("sync_orders")
        trial.set_clock(ten - timedelta(seconds=1))
        await trial.succeeded("sync_orders", 1)
    trial.set_clock(ten + timedelta(hours=3, minutes=5))
    async with trial.running(module):
        await trial.succeeded("sync_orders", 4)
    windows = [line for line in trial.printed().splitlines() if line.startswith("sync window:")]
    edges = [ten + timedelta(hours=number) for number in range(-1, 4)]
    assert windows == [f"sync window: {start} -> {end}" for start, end in pairwise(edges)]
    [(watermark,)] = await trial.database.execute("SELECT last_data_time FROM scheduled_job")
    assert watermark == edges[-1].replace(tzinfo=None)


async def test_example_8_a_client_as_a_resource(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_web(tmp_path, "example.com") as web:
        monkeypatch.setenv("HTTPS_PROXY", web.proxy)
        monkeypatch.setenv("SSL_CERT_FILE", str(web.authority))
        module = trial.load("example_08_1.py", "example_08_2.py")
        await trial.database.execute(
            "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) "
            "VALUES ('fetch_with_resource', 'interval', '{\"seconds\": 3}')"
        )
        async with trial.running(module):
            assert await trial.until_printed("200_count=") == "200_count= 100"
            await trial.succeeded("fetch_with_resource")
    assert web.requests["example.com:443"] >= 100
    assert 1 < web.most_at_once <= 50


async def test_example_9_any_resource_of_ones_own(trial: Trial, tmp_path: Path) -> None:
    job = (
        "from piko import PikoApp\n\napp = PikoApp('redis')\n\n"
        "@app.job(job_id='cached', resources={'redis': RedisResource})\n"
        "async def cached(ctx, scheduled_time, redis):\n    print('redis=', type(redis).__name__)\n"
    )
    module = trial.load("example_09.py")
    exec(compile(job, "job.py", "exec"), vars(module))
    await trial.every_second("cached")
    async with trial.running(module):
        assert await trial.until_printed("redis=") == "redis= object"
        await trial.succeeded("cached")


async def test_example_10_intents_reach_their_sink(trial: Trial) -> None:
    pytest.importorskip("piko.persistence.sink_base")
    module = trial.load("example_10_1.py", "example_10_2.py")
    await trial.every_second("produce_intents")
    async with trial.running(module):
        await trial.succeeded("produce_intents")
        await trial.until_printed("[SINK] 999 {'i': 999}")
    lines = [line for line in trial.output.splitlines() if line.startswith("[SINK]")]
    assert lines[:1000] == [f"[SINK] {number} {{'i': {number}}}" for number in range(1000)]


async def test_example_11_each_model_has_its_own_way_to_be_written(trial: Trial) -> None:
    pytest.importorskip("piko.persistence.sink_base")
    module = trial.load("example_11_1.py", "example_11_2.py")
    await trial.every_second("emit_models")
    async with trial.running(module):
        await trial.succeeded("emit_models")
        assert re.fullmatch(r"users: \d+", await trial.until_printed("users:"))
        assert re.fullmatch(r"orders: \d+", await trial.until_printed("orders:"))


async def test_example_12_three_triggers(trial: Trial) -> None:
    app = (
        "from piko import PikoApp\n\napp = PikoApp('triggers')\n\n"
        "for name in ('daily_job', 'fast_job', 'one_shot'):\n"
        "    @app.job(job_id=name)\n"
        "    async def run(ctx, scheduled_time):\n"
        "        print(ctx['job_id'], scheduled_time.isoformat())\n"
    )
    module = trial.load("example_09.py")
    exec(compile(app, "app.py", "exec"), vars(module))
    trial.set_clock(datetime(2026, 1, 8, 9, 50, tzinfo=UTC))
    await trial.sql("example_12.sql")
    async with trial.running(module):
        await trial.until_scheduled("one_shot")
        trial.set_clock(datetime(2026, 1, 8, 9, 59, 59, tzinfo=UTC))
        assert await trial.until_printed("one_shot 2026") == "one_shot 2026-01-08T10:00:00+00:00"
        assert (await trial.until_printed("fast_job 2026-01-08T10:0")).endswith("0+00:00")
        await trial.succeeded("one_shot")

        async def states() -> dict[str, tuple[Any, Any]] | None:
            rows = await trial.database.execute("SELECT job_id, status, next_run_at FROM job_state")
            found = {row[0]: (row[1], row[2]) for row in rows}
            return found if found.get("one_shot", ("", None))[0] == "Completed" else None

        found = await wait_until_async(states, what="the date to be completed")
    assert found["one_shot"] == ("Completed", None)
    assert found["daily_job"] == ("Scheduled", datetime(2026, 1, 9, 2, 30))  # noqa: DTZ001 - as stored
    assert trial.output.count("one_shot 2026") == 1


async def test_example_13_a_config_that_changes_while_the_app_runs(trial: Trial) -> None:
    module = trial.load("example_13.py")
    await trial.every_second("sweep_cfg")
    async with trial.running(module):
        assert await trial.until_printed("cfg:") == "cfg: 50 10"
        await trial.sql("example_13_1.sql")
        assert await trial.until_printed("cfg: 200") == "cfg: 200 3.0"
        await trial.sql("example_13_2.sql")
        before = trial.output.count("cfg: 200")
        again = lambda: trial.printed().count("cfg: 200") >= before + 2  # noqa: E731
        await wait_until_async(again, what="two more runs as before")
        assert "cfg: 100" not in trial.output
        trial.clock.shift = timedelta(minutes=11)
        assert await trial.until_printed("cfg: 100") == "cfg: 100 5.0"


async def test_example_14_of_two_replicas_one_leads(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    replicas.write(printed("example_01.py"))
    (replicas.folder / "settings.toml").write_text(printed("example_14.toml"))
    await schedule(migrated_mariadb, "mini_job")
    first, second = (
        replicas.start(
            migrated_mariadb.dsn,
            name=name,
            environment={"PIKO_LEADER_LEASE_S": "30", "PIKO_LEADER_RENEW_INTERVAL_S": "10"},
        )
        for name in ("first", "second")
    )
    leader, standby = await leader_of(first, second)
    await until_runs(migrated_mariadb, "mini_job", 2)
    assert "run_id=" not in standby.process.output
    assert leader.process.terminate() == 0
    await standby.until_ready("leader")
    standby.process.wait_for_line("^run_id=")
