"""The tutorial from MySQL to a warehouse, as a reader follows it: two replicas, a crash, an alert."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.docs.pages import read
from tests.harness.databases import TestDatabase
from tests.harness.programs import PikoProcessFactory
from tests.harness.prometheus import configured
from tests.harness.reaper import Reaper
from tests.harness.waiting import wait_until, wait_until_async
from tests.runtime.replicas import Replicas, leader_of

_PAGE = read("tutorial/mysql-to-warehouse.md")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, flags=re.DOTALL)


async def test_a_crash_and_an_alert_on_the_way_to_a_warehouse(
    mariadb: TestDatabase, piko_process: PikoProcessFactory, reaper: Reaper, tmp_path: Path
) -> None:
    tables, row, sale, comparison, broken, meanwhile, repaired = _blocks("sql")
    alerts, settings = _blocks("yaml")
    (tmp_path / "app.py").write_text(*_blocks("python"))
    (tmp_path / "alerts.yml").write_text(alerts)

    def piko(*arguments: str) -> str:
        said = piko_process(
            "-m", "piko", *arguments, env={"PIKO_MYSQL_DSN": mariadb.dsn}, cwd=tmp_path, name="cli"
        )
        said.wait()
        return said.output

    async def sums() -> tuple[int, int]:
        [(sold, counted)] = await mariadb.execute(comparison.rstrip(";\n"))
        return int(sold), int(counted or 0)

    async def counted_is_sold() -> bool:
        sold, counted = await sums()
        return sold == counted

    assert "Traceback" not in piko("db", "upgrade")
    for statement in tables.split(";\n"):
        if statement.strip():
            await mariadb.execute(statement)
    replicas = Replicas(piko_process, tmp_path)
    leader, other = await leader_of(replicas.start(mariadb.dsn), replicas.start(mariadb.dsn))
    await mariadb.execute(row)
    await mariadb.execute(sale)
    await wait_until_async(counted_is_sold, what="the first sale to be counted")

    leader.process.kill()
    await mariadb.execute(sale)
    await other.until_ready()
    await wait_until_async(counted_is_sold, what="the sale during the crash to be counted")
    assert await sums() == (120, 120)

    again = replicas.start(mariadb.dsn)
    await again.until_ready("standby")
    [scraping] = yaml.safe_load(settings)["scrape_configs"]
    scraping["static_configs"] = [{"targets": [f"127.0.0.1:{each.port}" for each in (other, again)]}]
    with configured([scraping], folder=tmp_path, reaper=reaper, rules=[tmp_path / "alerts.yml"]) as server:

        def fires() -> bool:
            return bool(server.query('ALERTS{alertname="PikoJobLate",alertstate="firing"}'))

        await mariadb.execute(broken)
        wait_until(fires, what="PikoJobLate to fire")
        assert "sum_revenue" in piko("late")
        assert "orders" in piko("why", "sum_revenue")
        await mariadb.execute(meanwhile)
        await mariadb.execute(repaired)
        await wait_until_async(counted_is_sold, what="the windows that failed to be counted")
        wait_until(lambda: not fires(), what="the alert to end")
    assert await sums() == (180, 180)
