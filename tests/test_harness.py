"""What the other suites rely on without looking."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.harness import locate
from tests.harness.control_plane import ControlPlane
from tests.harness.database_servers import DatabaseServer, NamedServer
from tests.harness.databases import TestDatabase, create_database
from tests.harness.lines import whole_lines
from tests.harness.processes import lives
from tests.harness.programs import PikoProcessFactory
from tests.harness.reaper import Reaper, unmount_below
from tests.harness.servers import Servers
from tests.harness.waiting import PATIENCE_S, wait_until, wait_until_async

_ROOT = Path(__file__).parent.parent

# ---- files that are being written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        ("", []),
        ('{"a": "b', []),
        ("one\n", ["one"]),
        ('one\n{"a": "b', ["one"]),
        ("one\n\ntwo\n", ["one", "", "two"]),
        ("one\u2028still one\n", ["one\u2028still one"]),
    ],
)
def test_a_line_is_read_when_it_has_ended(tmp_path: Path, written: str, whole: list[str]) -> None:
    path = tmp_path / "notes"
    assert whole_lines(path) == []
    path.write_text(written, encoding="utf-8")
    assert whole_lines(path) == whole


# ---- databases ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pass_", [1, 2])
async def test_every_test_gets_an_empty_database(database: TestDatabase, pass_: int) -> None:
    await database.execute("CREATE TABLE left_behind (id INTEGER)")
    await database.execute(f"INSERT INTO left_behind VALUES ({pass_})")
    assert await database.execute("SELECT id FROM left_behind") == [(pass_,)]


async def test_two_databases_of_one_server_do_not_share_tables(
    mariadb: TestDatabase, servers: Servers
) -> None:
    other = await create_database("mariadb", servers.database_host("mariadb").dsn)
    await mariadb.execute("CREATE TABLE mine (id INTEGER)")
    assert await other.execute("SHOW TABLES") == []
    assert await mariadb.execute("SHOW TABLES") == [("mine",)]


async def test_the_server_behind_a_database_is_the_kind_that_it_says(database: TestDatabase) -> None:
    if database.kind == "sqlite":
        assert database.dsn.startswith("sqlite+aiosqlite:///")
        return
    assert database.dsn.startswith("mysql+asyncmy://")
    [(version,)] = await database.execute("SELECT VERSION()")
    assert ("mariadb" in version.lower()) is (database.kind == "mariadb")


async def test_an_own_server_keeps_its_data_through_a_kill(own_mariadb: DatabaseServer) -> None:
    database = await own_mariadb.create_database()
    await database.execute("CREATE TABLE kept (id INTEGER)")
    await database.execute("INSERT INTO kept VALUES (7)")
    own_mariadb.kill()
    assert not own_mariadb.running
    own_mariadb.start()
    assert await database.execute("SELECT id FROM kept") == [(7,)]


async def test_a_paused_server_answers_when_it_goes_on(own_mariadb: DatabaseServer) -> None:
    database = await own_mariadb.create_database()
    own_mariadb.pause()
    assert own_mariadb.running
    own_mariadb.resume()
    assert await database.execute("SELECT 1") == [(1,)]


# ---- Kubernetes -----------------------------------------------------------------------------------


def test_a_service_account_is_who_it_claims_to_be(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "reader")
    said = control_plane.kubectl("auth", "whoami", "-o", "json", kubeconfig=kubeconfig).stdout
    assert json.loads(said)["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:reader"


def test_a_service_account_may_do_only_what_roles_grant(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "reader")
    refused = control_plane.kubectl("get", "configmaps", kubeconfig=kubeconfig, check=False)
    assert refused.returncode != 0
    assert "forbidden" in refused.stderr
    control_plane.kubectl("-n", namespace, "create", "role", "r", "--verb=list", "--resource=configmaps")
    control_plane.kubectl(
        "-n", namespace, "create", "rolebinding", "r", "--role=r", f"--serviceaccount={namespace}:reader"
    )
    user = f"system:serviceaccount:{namespace}:reader"
    control_plane.until_may(user, "list", "configmaps", namespace=namespace)
    granted = control_plane.kubectl("get", "configmaps", kubeconfig=kubeconfig)
    assert granted.returncode == 0
    control_plane.kubectl("-n", namespace, "delete", "rolebinding", "r")
    control_plane.until_may(user, "list", "configmaps", namespace=namespace, may=False)


def test_the_server_says_which_kubernetes_it_is(control_plane: ControlPlane) -> None:
    server = json.loads(control_plane.kubectl("version", "-o", "json").stdout)["serverVersion"]
    assert (server["major"], int(server["minor"]) >= 30) == ("1", True)


def test_custom_resources_are_served(crds: ControlPlane, namespace: str) -> None:
    assert crds.kubectl("-n", namespace, "get", "psch,pjc", "-o", "name").stdout == ""


def test_a_cluster_that_a_kubeconfig_names_serves_as_well(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    named = ControlPlane.named_by(control_plane.admin_kubeconfig, folder=tmp_path)
    assert named.url == control_plane.url
    kubeconfig = named.service_account_kubeconfig(namespace, "reader")
    assert named.kubectl("auth", "whoami", kubeconfig=kubeconfig).returncode == 0


# ---- where servers come from ----------------------------------------------------------------------


@pytest.fixture
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on PATH and nothing in the cache."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv(locate.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(locate.ASSETS_VARIABLE, raising=False)
    return tmp_path


def test_the_environment_comes_before_the_path_and_the_path_before_the_cache(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = _program(locate.cached_program("etcd"))
    assert locate.find_tool("etcd") == cached
    on_path = _program(empty_machine / "bin" / "etcd")
    assert locate.find_tool("etcd") == on_path
    named = _program(empty_machine / "assets" / "etcd")
    monkeypatch.setenv(locate.ASSETS_VARIABLE, str(named.parent))
    assert locate.find_tool("etcd") == named


def test_what_is_missing_is_said_in_one_sentence(empty_machine: Path) -> None:
    with pytest.raises(
        locate.MissingToolError, match=r"^etcd was not found .* run `make servers`.* on PATH$"
    ):
        locate.find_tool("etcd")


def test_a_cached_program_of_another_version_is_not_taken(empty_machine: Path) -> None:
    _program(locate.cache_folder() / "etcd-v3.4.0" / "etcd")
    with pytest.raises(locate.MissingToolError):
        locate.find_tool("etcd")


def test_a_database_server_that_the_environment_names_is_used_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dsn = "mysql+asyncmy://root@127.0.0.1:3306/?charset=utf8mb4"
    monkeypatch.setenv(locate.MARIADB_DSN_VARIABLE, dsn)
    servers = Servers()
    try:
        assert servers.database_host("mariadb") == NamedServer(kind="mariadb", dsn=dsn)
    finally:
        servers.close()


# ---- programs -------------------------------------------------------------------------------------


def test_a_program_inherits_no_setting_of_piko(
    piko_process: PikoProcessFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIKO_TIMEZONE", "Asia/Shanghai")
    shown = "import os; print(sorted(name for name in os.environ if name.startswith('PIKO_')))"
    process = piko_process("-c", shown, env={"PIKO_DEBUG": "true"})
    assert process.wait() == 0
    assert process.output == "['PIKO_DEBUG']\n"


def test_waiting_for_a_line_ends_as_soon_as_the_program_does(piko_process: PikoProcessFactory) -> None:
    process = piko_process("-c", "print('something else')")
    with pytest.raises(AssertionError, match="ended with 0 and never printed") as failure:
        process.wait_for_line("ready")
    assert "something else" in failure.value.__notes__[0]


def test_a_line_is_not_there_before_its_end_is(piko_process: PikoProcessFactory) -> None:
    process = piko_process(
        "-c",
        "import signal\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print(' and half'))\n"
        "print('half', end='')\n"
        "while True: signal.pause()",
    )
    wait_until(lambda: process.log.read_text() == "half", what="half a line")
    assert process.output == ""
    with pytest.raises(AssertionError, match="waited 0 s"):
        process.wait_for_line("half", timeout=0)
    process.signal(signal.SIGUSR1)
    assert process.wait_for_line("half") == "half and half"


def test_a_signal_reaches_the_program_itself(piko_process: PikoProcessFactory) -> None:
    process = piko_process(
        "-c",
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('ready')\n"
        "while True: signal.pause()",
    )
    assert process.wait_for_line("^ready$") == "ready"
    assert process.terminate() == 3


@pytest.mark.usefixtures("programs")
def test_two_processes_of_tests_never_choose_one_port() -> None:
    ports = "from tests.harness.ports import free_port; print([free_port() for _ in range(300)])"
    pair = [
        subprocess.Popen([sys.executable, "-c", f"{ports}; input()"], cwd=_ROOT, stdin=-1, stdout=-1)
        for _ in range(2)
    ]
    chosen = []
    for process in pair:
        assert process.stdout is not None
        chosen.append(set(json.loads(process.stdout.readline())))
    for process in pair:
        process.communicate(b"\n", timeout=PATIENCE_S)
    assert min(map(len, chosen)) > 100
    assert not chosen[0] & chosen[1]


def test_a_process_that_nobody_has_collected_yet_does_not_live() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert lives(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        wait_until(lambda: not lives(process.pid), what="its end")
        assert process.returncode is None, "it was collected, which this test is not about"
    assert not lives(process.pid)


# ---- waiting --------------------------------------------------------------------------------------


def test_a_wait_that_fails_says_for_what_and_what_was_there() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.1 s for two rows; last seen: \[\]"):
        wait_until(list, timeout=0.1, what="two rows")


async def test_an_async_wait_takes_both_kinds_of_condition() -> None:
    async def three() -> int:
        return 3

    assert await wait_until_async(three, what="three") == 3
    assert await wait_until_async(lambda: 4, what="four") == 4
    with pytest.raises(AssertionError, match="waited 0 s for nothing; last seen: None"):
        await wait_until_async(lambda: None, timeout=0, what="nothing")


# ---- the end of a run -----------------------------------------------------------------------------

_INNER_TEST = """
import time

def test_holds_servers(servers, own_mariadb, piko_process, tmp_path):
    child = piko_process("-c", "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)")
    print("HELD", servers.folder, own_mariadb._process.pid, child.pid, flush=True)
    time.sleep(600)
"""


def test_a_killed_run_leaves_neither_processes_nor_folders(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    (tmp_path / "test_inner.py").write_text(_INNER_TEST, encoding="utf-8")
    run = piko_process(
        *("-m", "pytest", "-s", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", tmp_path),
        *("--basetemp", tmp_path / "inner", tmp_path / "test_inner.py"),
        cwd=_ROOT,
    )
    _, folder, *pids = run.wait_for_line("HELD").split("HELD")[-1].split(" ")
    groups = [int(pid) for pid in pids]
    assert Path(folder).is_dir()
    assert all(_members(group) for group in groups)
    os.kill(run.pid, signal.SIGKILL)
    try:
        wait_until(
            lambda: not any(_members(group) for group in groups) and not Path(folder).exists(),
            what=f"process groups {groups} and {folder} to be deleted",
        )
    finally:
        for pid in [pid for group in groups for pid in _members(group)]:
            os.kill(pid, signal.SIGKILL)


_FAILS_AND_LEAVES = """
import asyncio, gc

async def test_fails():
    _, writer = await asyncio.open_connection("127.0.0.1", PORT)
    cycle = [writer]
    cycle.append(cycle)
    assert False

def test_passes():
    gc.collect()
"""


def test_what_a_failed_test_leaves_open_fails_no_other(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        (tmp_path / "test_inner.py").write_text(_FAILS_AND_LEAVES.replace("PORT", port), encoding="utf-8")
        run = piko_process(
            *("-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", tmp_path),
            *("-W", "error", "-c", _ROOT / "pyproject.toml", tmp_path / "test_inner.py"),
            cwd=_ROOT,
        )
        assert run.wait() == 1
    assert "1 failed, 1 passed" in run.output


def test_the_reaper_leaves_released_groups_alone(tmp_path: Path) -> None:
    reaper = Reaper()
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    reaper.adopt_group(process.pid)
    reaper.release_group(process.pid)
    reaper.close()
    process.communicate(b"\n", timeout=PATIENCE_S)
    assert process.returncode == 0


_WRITES_ON = """
import itertools, pathlib, sys, time

folder = pathlib.Path(sys.argv[1], "data")
folder.mkdir(parents=True)
end = time.monotonic() + 1
for number in itertools.count():
    try:
        (folder / str(number)).touch()
    except FileNotFoundError:
        break
    if number == 0:
        print("writes", flush=True)
    if time.monotonic() > end:
        break
"""


@pytest.mark.usefixtures("programs")
def test_the_reaper_removes_what_is_written_while_it_removes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    reaper = Reaper()
    reaper.adopt_folder(folder)
    with subprocess.Popen([sys.executable, "-c", _WRITES_ON, folder], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writes\n"
        reaper.close()
    assert not folder.exists()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own, two folders below `tmp_path`."""
    place = tmp_path / f"pytest-of-{getpass.getuser()}" / "garbage-of-a-killed-run" / "disk"
    place.mkdir(parents=True)
    mounting = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, check=False)
    if mounting.returncode != 0:
        pytest.skip("a filesystem can be mounted by root only")
    (place / "file").touch()
    yield place
    unmount_below(tmp_path)  # pytest gives the folder another name before it removes it


def test_the_reaper_removes_a_folder_in_which_something_is_mounted(mounted: Path) -> None:
    reaper = Reaper()
    reaper.adopt_folder(mounted.parent)
    reaper.close()
    assert not mounted.parent.exists()


@pytest.mark.usefixtures("mounted")
def test_what_a_killed_run_has_left_fails_no_later_one(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    (tmp_path / "test_inner.py").write_text("def test_passes(tmp_path): pass", encoding="utf-8")
    run = piko_process(
        *("-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path),
        *("-c", _ROOT / "pyproject.toml", tmp_path / "test_inner.py"),
        env={"PYTEST_DEBUG_TEMPROOT": str(tmp_path)},
        cwd=_ROOT,
    )
    assert run.wait() == 0, run.output
    assert "Device or resource busy" in run.output, "it was met"


def _program(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return path


def _members(group: int) -> list[int]:
    """The living processes of a group; a zombie that nobody has collected yet is not one."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, pgid = entry.read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
            if int(pgid) == group and state != "Z":
                members.append(int(entry.parent.name))
    return members


def test_no_property_can_fail_because_an_example_took_long() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
