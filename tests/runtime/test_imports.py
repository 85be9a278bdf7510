"""What a start need not pay for, and what it pays before its event loop runs.

Modules are loaded only where somebody asks for what they do, and those of every replica at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase, migrate
from tests.harness.pods import leading_pod
from tests.harness.ports import free_port
from tests.runtime.replicas import Replicas, schedule

NEVER_IN_A_REPLICA = {
    "aiohttp", "alembic", "anyio", "dask", "distributed", "fastapi", "jsonschema", "kopf",
    "kubernetes_asyncio", "mako", "starlette", "typer", "yaml",
}  # fmt: skip
NEVER_BY_THE_PACKAGE = NEVER_IN_A_REPLICA | {
    "asyncio", "cloudpickle", "croniter", "prometheus_client", "pydantic", "rich", "sqlalchemy", "structlog",
    "uvicorn",
}  # fmt: skip

TELLS = """
import sys
from piko import PikoApp

app = PikoApp(name="trial")
{more}

@app.job(job_id="tells")
async def tells(ctx, scheduled_time):
    print("loaded:", *sorted({{name.partition(".")[0] for name in sys.modules}}), flush=True)

if __name__ == "__main__":
    app.run()
"""


@pytest.mark.usefixtures("programs")
def test_the_package_itself_loads_next_to_nothing() -> None:
    reported = subprocess.run(
        [sys.executable, "-c", "import sys, piko; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert NEVER_BY_THE_PACKAGE.isdisjoint(reported.stdout.split())


async def _loaded(
    replicas: Replicas, database: TestDatabase, more: str, environment: Mapping[str, str] | None = None
) -> set[str]:
    """Packages in the process of a replica that has begun to run jobs."""
    await migrate(database)
    await schedule(database, "tells")
    replicas.write(TELLS.format(more=more))
    replica = replicas.start(database.dsn, "app.py", environment=environment)
    line = replica.process.wait_for_line("loaded: ")
    assert replica.get("/metrics")[0] == 200
    return set(line.partition("loaded: ")[2].partition('"')[0].split())


async def test_a_running_replica_has_loaded_what_it_uses(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    loaded = await _loaded(replicas, migrated_mariadb, "")

    assert "sqlalchemy" in loaded
    assert NEVER_IN_A_REPLICA.isdisjoint(loaded), NEVER_IN_A_REPLICA & loaded


async def test_a_pod_that_leads_by_a_kubernetes_lease_loads_no_client_of_the_whole_api(
    replicas: Replicas, sqlite: TestDatabase, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    pod = tmp_path / "pod"
    environment = leading_pod(control_plane, pod, namespace=namespace)
    more = f"""
import pathlib
from piko.leadership import api_access
api_access.SERVICE_ACCOUNT = pathlib.Path({str(pod)!r})
"""
    loaded = await _loaded(replicas, sqlite, more, {**environment, "PIKO_LEADER_BACKEND": "kubernetes"})

    assert NEVER_IN_A_REPLICA.isdisjoint(loaded), NEVER_IN_A_REPLICA & loaded
    lease = control_plane.kubectl("-n", namespace, "get", "lease", "piko-default", "-o", "name")
    assert lease.stdout.strip() == "lease.coordination.k8s.io/piko-default"


async def test_an_app_that_asks_for_its_api_loads_the_framework(
    replicas: Replicas, sqlite: TestDatabase
) -> None:
    assert "fastapi" in await _loaded(replicas, sqlite, "api_app = app.api_app")


WATCHES = """
import asyncio, sys, threading

def imports_while_the_loop_runs(event, arguments):
    if event != "import" or threading.current_thread() is not threading.main_thread():
        return
    package = arguments[0].partition(".")[0]
    if asyncio._get_running_loop() is not None and package not in sys.stdlib_module_names:
        print("kept the event loop:", arguments[0], flush=True)

sys.addaudithook(imports_while_the_loop_runs)
"""


@pytest.mark.parametrize("page", [False, True])
async def test_the_event_loop_of_the_jobs_stands_still_for_no_import(
    replicas: Replicas, database: TestDatabase, page: bool
) -> None:
    environment = {"PIKO_WEB_ENABLED": "true", "PIKO_WEB_PORT": str(free_port())} if page else {}
    await migrate(database)
    await schedule(database, "tells")
    replicas.write(TELLS.format(more=WATCHES))
    replica = replicas.start(database.dsn, "app.py", environment=environment)
    replica.process.wait_for_line("loaded: ")
    await replica.until_ready()
    assert replica.get("/metrics")[0] == 200
    assert replica.process.terminate() == 0
    assert [line for line in replica.process.output.splitlines() if "kept the event loop" in line] == []
