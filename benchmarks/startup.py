"""What a replica's start costs: seconds of processor time until `/readyz` answers 200.

    python -m benchmarks.startup              # lease in the database, and a Kubernetes Lease as in a pod
    python -m benchmarks.startup --times 9

A busy processor makes everything slower, so each measurement stands beside a yardstick of the same round: a
Python that imports FastAPI and SQLAlchemy's asyncio and does nothing. Bytecode is compiled before, as in the
images. MariaDB, etcd and the API server are private ones on this machine; the pod's ServiceAccount is a real
one, with the right to hold Leases and no other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tests.harness.control_plane import ControlPlane
from tests.harness.databases import create_database
from tests.harness.pods import leading_pod
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.servers import Servers

from piko.store.schema.migrate import upgrade

_LOOK_S = 0.02
_PATIENCE_S = 120.0
_YARDSTICK = "import fastapi, sqlalchemy.ext.asyncio"
_APP = """
from piko import PikoApp

app = PikoApp(name="startup")

@app.job(job_id="nothing")
async def nothing(ctx, scheduled_time): ...
"""
_RUN = "from piko.cli import main; main()"
_RUN_IN_POD = f"""
import pathlib
from piko.leadership import api_access
api_access.SERVICE_ACCOUNT = pathlib.Path("pod").absolute()
{_RUN}
"""


def yardstick(environment: Mapping[str, str]) -> float:
    """Seconds of processor time that the imports take."""
    before = os.times()
    subprocess.run([sys.executable, "-c", _YARDSTICK], env=dict(environment), check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def cost_of_start(
    servers: Servers, folder: Path, environment: Mapping[str, str], *, program: str = _RUN
) -> float:
    """Seconds of processor time, user and system, that a replica has used when it says that it is ready."""
    port = free_port()
    replica = ChildProcess(
        [sys.executable, "-c", program, "run", "app:app"],
        name="replica",
        log=folder / "replica.log",
        reaper=servers.reaper,
        environment={**environment, "PIKO_HTTP_PORT": str(port), "PIKO_HTTP_HOST": "127.0.0.1"},
        cwd=folder,
    )
    try:
        _until_ready(replica, port)
        return _processor_s(replica.pid)
    finally:
        replica.terminate(timeout=60)


def _until_ready(replica: ChildProcess, port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if not replica.running:
                raise AssertionError(replica.tail()) from None
            time.sleep(_LOOK_S)
    raise AssertionError(f"not ready after {_PATIENCE_S:.0f} s:\n{replica.tail()}")


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def leases(control_plane: ControlPlane, folder: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """By what keeps the lease: the program that starts a replica, and its environment."""
    namespace = control_plane.create_namespace()
    pod = leading_pod(control_plane, folder / "pod", namespace=namespace)
    return {
        "database": (_RUN, {"PIKO_LEADER_BACKEND": "database"}),
        "kubernetes": (_RUN_IN_POD, {"PIKO_LEADER_BACKEND": "kubernetes", **pod}),
    }


async def measure(servers: Servers, folder: Path, *, times: int) -> None:
    """`times` rounds of the yardstick and a start by either lease; one before them, not counted, compiles."""
    database = await create_database("mariadb", servers.database_host("mariadb").dsn)
    await upgrade(database.dsn)
    (folder / "app.py").write_text(_APP)
    base = {name: value for name, value in os.environ.items() if not name.startswith(("PIKO_", "PYTHON"))}
    base |= {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PIKO_MYSQL_DSN": database.dsn}
    base |= {"PIKO_SPOOL_DIR": str(folder / "spool"), "PIKO_LOG_FORMAT": "json"}
    ways = leases(servers.control_plane(), folder)
    costs: dict[str, list[float]] = {"yardstick": [], **{way: [] for way in ways}}
    for number in range(times + 1):
        found = {"yardstick": await asyncio.to_thread(yardstick, base)}
        for way, (program, environment) in ways.items():
            found[way] = await asyncio.to_thread(
                cost_of_start, servers, folder, {**base, **environment}, program=program
            )
        if number:
            for name, cost in found.items():
                costs[name].append(cost)
    _show(costs)


def _show(costs: Mapping[str, list[float]]) -> None:
    yardsticks = costs["yardstick"]
    for name, found in costs.items():
        ratio = statistics.median(cost / beside for cost, beside in zip(found, yardsticks, strict=True))
        print(
            f"{name:<12} processor seconds: median {statistics.median(found):.2f}  "
            f"least {min(found):.2f}  most {max(found):.2f}  of the yardstick {ratio:.2f}"
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="rounds")
    options = parser.parse_args()
    with closing(Servers()) as servers, tempfile.TemporaryDirectory() as folder:
        servers.begin(["mariadb", "control_plane"])
        asyncio.run(measure(servers, Path(folder), times=options.times))


if __name__ == "__main__":
    main()
