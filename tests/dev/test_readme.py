"""README and examples: what they show is there, and does what they say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from piko.dev.files import ResourceFiles
from tests.dev.folders import SETTINGS, rows
from tests.harness.programs import PikoProcessFactory

_ROOT = Path(__file__).parents[2]


def _blocks(language: str) -> list[str]:
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_every_command_exists() -> None:
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", (_ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", text, flags=re.MULTILINE)) <= set(targets)
    files = re.findall(r"kubectl apply -f (\S+)|\.venv/bin/piko dev ([^\s`]+)", text)
    assert files
    assert all((_ROOT / next(filter(None, found))).exists() for found in files)


def test_the_readmes_job_runs_by_its_resource_and_by_its_row(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    (code,), (resource,), (row,) = _blocks("python"), _blocks("yaml"), _blocks("sql")
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "schedules.yaml").write_text(resource)
    (tmp_path / "settings.toml").write_text(SETTINGS)
    program = piko_process("-m", "piko", "dev", tmp_path)
    program.wait_for_line("sync_orders +Scheduled  interval every 5s")
    (tmp_path / "schedules.yaml").unlink()
    program.wait_for_line("folder +deleted: PikoSchedule of job 'sync_orders'")
    rows(tmp_path, row.replace('"seconds": 5', '"seconds": 1'))
    program.wait_for_line("sync_orders +Scheduled  interval every 1s")
    program.wait_for_line("orders from .* to .*, run [0-9a-f]{32}")
    assert program.terminate() == 0


def test_the_demonstration_compares_what_was_loaded_with_its_source(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "orders"
    kept = shutil.ignore_patterns(".piko", "warehouse.db*", "__pycache__")
    shutil.copytree(_ROOT / "examples" / "orders", folder, ignore=kept)
    demo = piko_process(folder / "demo.py", "5", name="demo", cwd=tmp_path)
    assert demo.wait() == 0
    *_, verdict, hint = demo.output.splitlines()
    assert re.fullmatch(
        r"30 windows, each run once: (\d+ orders, [\d.,]+) in the warehouse = in the shop", verdict
    )
    assert hint.startswith("Next: .venv/bin/piko dev orders")


def test_the_demonstration_fails_where_the_warehouse_is_wrong(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "orders"
    shutil.copytree(_ROOT / "examples" / "orders", folder, ignore=shutil.ignore_patterns(".piko", "*.db*"))
    app = (folder / "app.py").read_text()
    (folder / "app.py").write_text(
        app.replace("orders_between(window.start,", "list(orders_between(window.start,").replace(
            "window.end)\n", "window.end))[1:]\n", 1
        )
    )
    demo = piko_process(folder / "demo.py", "2", name="demo", cwd=tmp_path)
    assert demo.wait() == 1
    assert re.search(r"demo failed: the warehouse has \d+ orders, .* the shop has \d+ orders", demo.output)


def test_the_resources_of_the_example_are_good() -> None:
    reading = ResourceFiles(_ROOT / "examples" / "orders").first()
    assert reading.problems == []
    assert {item.job_id for item in reading.declared} == {"sync_orders", "revenue_report"}
