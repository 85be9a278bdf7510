"""What is read of a folder: its one app, its resource files, and the messages where something is wrong."""

from __future__ import annotations

import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from piko.dev.application import FailedLoadError, code_stamps, load_app, reload_app
from piko.dev.files import ResourceFiles
from piko.dev.place import check_folder, hold_place
from piko.dev.session import run_folder
from piko.errors import PikoError, SettingsError
from tests.dev.folders import APP, make_folder, schedule
from tests.harness.programs import PikoProcessFactory


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def _files(**texts: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir()
        for name, text in texts.items():
            (folder / name.replace("_py", ".py").replace("_yaml", ".yaml")).write_text(text)

    return write


_BAD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no folder": (lambda folder: None, ["there is no such folder", "piko dev DIR"]),
    "a file": (lambda folder: folder.write_text(""), ["it is a file; expected a folder"]),
    "a name that a URL cannot hold": (
        lambda folder: folder.with_name("a#b").mkdir(),
        ["rename the folder"],
    ),
    "no YAML": (_files(app_py=APP), ["no resource file found", "no YAML file", "kind: PikoSchedule"]),
    "only YAML of others": (
        _files(app_py=APP, values_yaml="a: 1"),
        ["no resource file found (searched: values.yaml)"],
    ),
    "no Python": (_files(s_yaml=schedule("x", "1s")), ["no PikoApp found (searched: no Python file)"]),
    "no app in any file": (
        _files(s_yaml=schedule("x", "1s"), jobs_py="a = 1\n"),
        ["no PikoApp found (searched: jobs.py)", "app = PikoApp(name="],
    ),
    "no app in app.py": (_files(s_yaml=schedule("x", "1s"), app_py="a = 1\n"), ["app.py: has no PikoApp"]),
    "two apps in a file": (
        _files(s_yaml=schedule("x", "1s"), app_py="from piko import PikoApp\na = PikoApp()\nb = PikoApp()\n"),
        ["has 2 PikoApps (a, b), expected one"],
    ),
    "apps in two files": (
        _files(s_yaml=schedule("x", "1s"), one_py=APP, two_py=APP),
        ["2 files create a PikoApp (one.py, two.py)", "rename the one to run to app.py"],
    ),
    "a syntax error": (
        _files(s_yaml=schedule("x", "1s"), app_py="a = 1\ndef f(:\n"),
        ["app.py, line 2: 'def f(:': not valid Python"],
    ),
    "a syntax error in a module of jobs": (
        _files(
            s_yaml=schedule("x", "1s"), app_py="import broken_jobs\n", broken_jobs_py="a = 1\n\nx = = 2\n"
        ),
        ["broken_jobs.py, line 3: 'x = = 2'"],
    ),
    "an error at import": (
        _files(s_yaml=schedule("x", "1s"), app_py="import faulty\n", faulty_py="a = 1\nb = a / 0\n"),
        ["faulty.py, line 2: importing app.py failed with ZeroDivisionError"],
    ),
    "a job that cannot run": (
        _files(s_yaml=schedule("x", "1s"), app_py=APP.replace("async def tick", "def tick")),
        ["job 'tick'", "the handler is not async"],
    ),
}


@pytest.mark.parametrize("case", _BAD)
def test_what_keeps_it_from_starting_is_explained(case: str, tmp_path: Path) -> None:
    make, said = _BAD[case]
    folder = tmp_path / "jobs"
    make(folder)
    with pytest.raises(PikoError) as raised:  # noqa: PT012 - each of the steps may raise
        path = check_folder(next(iter(tmp_path.iterdir()), folder))
        ResourceFiles(path).first()
        load_app(path)
    message = str(raised.value)
    assert message.startswith(str(tmp_path))
    for part in said:
        assert part in message


def test_it_ends_with_2_and_one_message(piko_process: PikoProcessFactory, tmp_path: Path) -> None:
    program = piko_process("-m", "piko", "dev", "nowhere", cwd=tmp_path)
    assert program.wait() == 2
    assert program.output.startswith("piko: nowhere: there is no such folder")
    assert "Traceback" not in program.output


def test_an_unknown_setting_of_the_folder_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "1s"))
    (folder / "settings.toml").write_text("[default]\npol_interval_s = 1\n")
    with pytest.raises(SettingsError, match="unknown setting `pol_interval_s`"):
        run_folder(folder, console=Console())


def test_jobs_of_other_modules_belong_to_the_very_app_that_runs(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs")
    (folder / "main_of_it.py").write_text(APP.replace("trial", "shared") + "\nimport more_jobs\n")
    (folder / "app.py").unlink()
    (folder / "more_jobs.py").write_text(
        "from main_of_it import app\n\n@app.job(job_id='more')\nasync def more(ctx, scheduled_time): ...\n"
    )
    app = load_app(folder)
    assert (app.name, "more" in app.registry, "tick" in app.registry) == ("shared", True, True)


@pytest.mark.parametrize(
    ("app", "parts", "watched"),
    [
        ("import shop.orders", {"orders": "def f(:"}, {"shop/__init__.py", "shop/orders.py"}),
        ("import shop.orders", {"orders": "x = 1 / 0"}, {"shop/__init__.py", "shop/orders.py"}),
        (
            "import shop.orders",
            {"orders": "import shop.stock", "stock": "raise SystemExit"},
            {"shop/__init__.py", "shop/orders.py", "shop/stock.py"},
        ),
        (
            "import shop.orders",
            {
                "orders": "try:\n    import shop.stock\nexcept ValueError:\n    raise KeyError",
                "stock": "int('x')",
            },
            {"shop/__init__.py", "shop/orders.py", "shop/stock.py"},
        ),
        ("from shop.orders import sync", {"orders": ""}, {"shop/__init__.py", "shop/orders.py"}),
    ],
    ids=[
        "no Python",
        "an error",
        "the end of the process",
        "an error behind another",
        "a name that it lacks",
    ],
)
def test_the_files_that_a_failed_load_has_got_to_are_watched(
    app: str, parts: dict[str, str], watched: set[str], tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "jobs")
    load_app(folder)
    (folder / "shop").mkdir()
    for name, text in {"__init__": "", **parts}.items():
        (folder / "shop" / f"{name}.py").write_text(text)
    (folder / "app.py").write_text(app)
    with pytest.raises(FailedLoadError) as raised:
        reload_app(folder)
    assert set(code_stamps(folder, more=raised.value.files)) == {"app.py", *watched}
    assert set(code_stamps(folder)) == {"app.py"}


def test_a_module_that_is_missing_is_watched_for(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs")
    load_app(folder)
    (folder / "app.py").write_text("import shop.orders")
    (folder / "shop").mkdir()
    with pytest.raises(FailedLoadError) as raised:
        reload_app(folder)
    before = code_stamps(folder, more=raised.value.files)
    (folder / "shop" / "orders.py").write_text("")
    after = code_stamps(folder, more=raised.value.files)
    assert set(after) - set(before) == {"shop/orders.py"}


def test_a_change_is_taken_once_it_holds_still(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "1s"))
    files = ResourceFiles(folder)
    assert [item.job_id for item in files.first().declared] == ["tick"]
    assert files.look() is None
    (folder / "tick.yaml").write_text("")
    assert files.look() is None, "an editor may have emptied it only to write it"
    (folder / "tick.yaml").write_text(schedule("load", "1s"))
    assert files.look() is None
    reading = files.look()
    assert reading is not None
    assert [item.job_id for item in reading.declared] == ["load"]
    assert files.look() is None


def test_a_broken_file_keeps_what_it_said_and_the_others_are_taken(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", one=schedule("tick", "1s"), two=schedule("load", "1s"))
    files = ResourceFiles(folder)
    files.first()
    (folder / "one.yaml").write_text("kind: PikoSchedule\n")
    (folder / "two.yaml").unlink()
    files.look()
    reading = files.look()
    assert reading is not None
    assert [item.job_id for item in reading.declared] == ["tick"]
    assert [problem.startswith(f"{folder}/one.yaml, line 1: ") for problem in reading.problems] == [True]
    assert reading.unknown == frozenset()


def test_a_file_that_falls_silent_and_one_that_goes_are_two_things(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", one=schedule("tick", "1s"), two=schedule("load", "1s"))
    files = ResourceFiles(folder)
    assert files.first().silent == frozenset()
    (folder / "one.yaml").write_text("")
    files.look()
    reading = files.look()
    assert reading is not None
    assert ([item.job_id for item in reading.declared], reading.silent) == (["load"], frozenset({"one.yaml"}))
    (folder / "one.yaml").unlink()
    files.look()
    reading = files.look()
    assert reading is not None
    assert reading.silent == frozenset()


def test_what_cannot_be_read_keeps_what_it_said(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", one=schedule("tick", "1s"), two=schedule("load", "1s"))
    files = ResourceFiles(folder)
    files.first()
    (folder / "one.yaml").unlink()
    (folder / "one.yaml").symlink_to("/proc/self/mem")  # a file that opens, and whose content cannot be read
    files.look()
    reading = files.look()
    assert reading is not None
    assert [item.job_id for item in reading.declared] == ["tick", "load"]
    assert reading.problems == [f"{folder}/one.yaml: cannot be read: Input/output error"]


def test_what_it_keeps_is_its_users_alone(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", tick=schedule("tick", "1s"))
    (folder / ".piko").mkdir(mode=0o755)
    (folder / ".piko" / "piko.db").touch(mode=0o644)
    with hold_place(folder) as place:
        assert not place.is_new
        assert stat.S_IMODE((folder / ".piko").stat().st_mode) == 0o700
        assert stat.S_IMODE(place.database.stat().st_mode) == 0o600
        with closing(sqlite3.connect(place.database)) as connection, connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE anything (it)")
            kept = list(place.database.parent.glob("piko.db*"))
            assert {path.name for path in kept} == {"piko.db", "piko.db-wal", "piko.db-shm"}
            assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_of_two_resources_for_one_job_the_first_keeps_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "jobs", a=schedule("tick", "1s"), b=schedule("tick", "2s", name="second"))
    reading = ResourceFiles(folder).first()
    assert [item.file for item in reading.declared] == ["a.yaml"]
    assert reading.problems == [
        "PikoSchedule second in b.yaml: job 'tick' already belongs to PikoSchedule tick in a.yaml, "
        "which stays in force; remove one of the two, or give one another jobId"
    ]
