"""That a test's marks follow from its fixtures, and that the unit tier stands on nothing but Python."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.harness import locate, tiers
from tests.harness.servers import Servers

_ROOT = Path(__file__).parents[2]

_ASKING = """
from hypothesis import given, settings, strategies as st
def test_for_nothing(): ...
@given(st.none())
def test_for_few_examples(none): ...
@settings(max_examples=101)
@given(st.none())
def test_for_many_examples(none): ...
def test_for_sqlite(sqlite): ...
def test_for_each_kind(database): ...
def test_for_mariadb(mariadb): ...
def test_for_a_mariadb_of_its_own(own_mariadb): ...
def test_for_a_namespace(namespace): ...
def test_for_a_cluster_of_its_own(own_control_plane): ...
def test_for_helm(helm): ...
def test_for_a_program(piko_process): ...
def test_for_seconds(slow): ...
"""


@pytest.mark.parametrize(
    "command",
    [
        ["helm", "version"],
        ["/usr/sbin/mariadbd", "--no-defaults"],
        ["/tree/ld-linux.so.2", "--library-path", "/tree/lib", "/tree/usr/sbin/mysqld"],
        [Path("/tools/kube-apiserver")],
    ],
    ids=["helm", "mariadbd", "mysqld", "kube-apiserver"],
)
def test_a_unit_test_can_start_no_server_and_no_tool(command: list[str | Path]) -> None:
    with pytest.raises(tiers.NotAUnitTestError, match=r"test_tiers.py::.* ask for the fixture `\w+`"):
        subprocess.Popen(command)


@pytest.mark.parametrize("name", ["mariadb", "mysql", "control_plane"])
def test_a_unit_test_can_ask_the_run_for_no_server(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        locate.MARIADB_DSN_VARIABLE,
        locate.MYSQL_DSN_VARIABLE,
        locate.KUBECONFIG_VARIABLE,
    ):
        monkeypatch.delenv(variable, raising=False)
    servers = Servers()
    try:
        with pytest.raises(tiers.NotAUnitTestError, match=f"ask for `{name}`"):
            servers.begin([name])
    finally:
        servers.close()


_MARKS = {
    "unit": {"for_nothing", "for_few_examples"},
    "many_examples": {"for_many_examples"},
    "slow": {"for_seconds"},
    "sqlite": {"for_sqlite", "for_each_kind[sqlite]"},
    "mariadb": {"for_each_kind[mariadb]", "for_mariadb", "for_a_mariadb_of_its_own"},
    "apiserver": {"for_a_namespace", "for_a_cluster_of_its_own"},
    "programs": {"for_a_program"},
    "helm": {"for_helm"},
}

_SAY_MARKS = """
def pytest_collection_finish(session):
    for item in session.items:
        for mark in {mark.name for mark in item.iter_markers()}:
            print("marked", mark, item.name.removeprefix("test_"))
"""


@pytest.mark.usefixtures("programs")
def test_marks_follow_from_what_a_test_asks_for(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(_SAY_MARKS, encoding="utf-8")
    outcome = _collected(tmp_path, _ASKING)
    assert outcome.returncode == 0, outcome.stdout
    found: dict[str, set[str]] = defaultdict(set)
    for _, mark, name in map(str.split, re.findall("^marked .*$", outcome.stdout, re.MULTILINE)):
        found[mark].add(name)
    assert {mark: found[mark] for mark in _MARKS} == _MARKS


@pytest.mark.usefixtures("programs")
def test_a_fixture_that_opens_a_server_has_to_say_which(tmp_path: Path) -> None:
    outcome = _collected(tmp_path, "def test_for_any(servers): ...")
    assert outcome.returncode != 0
    assert "for none of the fixtures that say which" in outcome.stdout + outcome.stderr


def _collected(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    inner = folder / "test_inner.py"
    inner.write_text(tests, encoding="utf-8")
    own = ("-p", "tests.conftest", "-p", "no:cacheprovider", "--strict-markers", "--rootdir", str(folder))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *own, str(inner)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
