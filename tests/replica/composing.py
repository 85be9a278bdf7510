"""Replicas of an app without jobs, on SQLite, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from piko import PikoApp
from piko.clock import SystemClock
from piko.replica.composition import compose
from piko.replica.parts import Parts
from piko.settings import load_settings


def composed(folder: Path, **settings: Any) -> Parts:
    """The parts of a replica whose database and spool are in `folder`; keywords are settings."""
    app = PikoApp(name="demo")
    app.used = True
    return compose(
        app_name=app.name,
        registry=app.registry,
        hooks=app.hooks,
        writer=app.writer,
        settings=load_settings(
            environment={}, directory=folder, mysql_dsn=dsn_in(folder), spool_dir=folder / "spool", **settings
        ),
        clock=SystemClock(),
        metrics=app.metrics,
    )


def dsn_in(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/piko.db"
