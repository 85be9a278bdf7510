"""What a replica says of itself is so when it says it."""

from __future__ import annotations

from pathlib import Path

from piko import PikoApp
from piko.settings import load_settings
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.leadership.clocks import MovableClock


async def test_a_leader_that_stood_still_past_its_lease_does_not_say_that_it_leads(
    sqlite: TestDatabase, tmp_path: Path
) -> None:
    await upgrade(sqlite.dsn)
    clock = MovableClock()
    app = PikoApp(name="trial", clock=clock)
    settings = load_settings(
        environment={}, directory=tmp_path, mysql_dsn=sqlite.dsn, spool_dir=tmp_path / "spool"
    )

    def leads() -> float | None:
        return app.metrics.registry.get_sample_value("piko_leader_status", {"host": runtime.instance.host})

    def says_ready() -> float | None:
        return app.metrics.registry.get_sample_value("piko_ready")

    assert says_ready() == 0

    async with app.running(settings) as runtime:

        def ready() -> bool:
            return runtime.readiness.ready and runtime.readiness.role == "leader"

        await wait_until_async(ready, what="a leader that is ready")
        assert (leads(), says_ready()) == (1, 1)
        clock.ahead_s += settings.leader_lease_s  # its parts have not been run since, and cannot know
        said = runtime.readiness
        assert (said.ready, said.role) == (False, "standby")
        assert "the leader's lease could not be renewed in time; nothing is claimed" in said.reasons
        assert (leads(), says_ready()) == (0, 0)
    assert says_ready() == 0
