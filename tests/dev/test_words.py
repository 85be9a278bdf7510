"""examples/words: counted in worker processes, kept through a resource of the app."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.harness.programs import PikoProcessFactory

_EXAMPLE = Path(__file__).parents[2] / "examples" / "words"


def test_the_words_of_the_shelf_are_counted(piko_process: PikoProcessFactory, tmp_path: Path) -> None:
    folder = tmp_path / "words"
    shutil.copytree(_EXAMPLE, folder, ignore=shutil.ignore_patterns(".piko", "*.db*", "__pycache__"))
    schedules = (folder / "schedules.yaml").read_text()
    (folder / "schedules.yaml").write_text(schedules.replace("every: 5s", "every: 1s"))
    process = piko_process("-m", "piko", "dev", str(folder))
    process.wait_for_line("commonest words: window 5, data 4")
    process.wait_for_line("count_words +SUCCESS")
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    with closing(sqlite3.connect(folder / "words.db")) as connection:
        kept = connection.execute("SELECT word, times FROM words ORDER BY times DESC").fetchall()
    assert kept == [("window", 5), ("data", 4)]
