"""Folders as a person makes them for `piko dev`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.harness.waiting import PATIENCE_S

APP = """
import asyncio
from piko import PikoApp

app = PikoApp(name="trial")

@app.job(job_id="tick")
async def tick(ctx, scheduled_time):
    print("ticked", ctx["config"], flush=True)

@app.job(job_id="load", stateful=True)
async def load(ctx, scheduled_time):
    await asyncio.sleep(ctx["config"].get("takes", 0))
"""

SETTINGS = "[default]\npoll_interval_s = 0.1\n"
"""So that a test need not wait long for what an edit does."""


def schedule(job_id: str, every: str, *, name: str | None = None, more: str = "") -> str:
    """The text of a PikoSchedule; `more` is further lines of its spec."""
    return f"""apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {{name: {name or job_id}}}
spec:
  jobId: {job_id}
  schedule: {{interval: {{every: {every}}}}}
  {more}
"""


def config(job_id: str, content: str) -> str:
    return f"""apiVersion: piko.dev/v1
kind: PikoJobConfig
metadata: {{name: {job_id}}}
spec: {{jobId: {job_id}, config: {content}}}
"""


def make_folder(path: Path, **files: str) -> Path:
    """A folder with `app.py`, and a YAML file for each keyword."""
    path.mkdir(exist_ok=True)
    (path / "settings.toml").write_text(SETTINGS)
    (path / "app.py").write_text(APP)
    for name, text in files.items():
        (path / f"{name}.yaml").write_text(text)
    return path


def rows(folder: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a person would see or do with SQL."""
    with closing(sqlite3.connect(folder / ".piko" / "piko.db", timeout=PATIENCE_S)) as connection, connection:
        return connection.execute(statement, values).fetchall()
