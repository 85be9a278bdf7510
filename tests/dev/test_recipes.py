"""examples/recipes: every recipe runs, and what it wrote is there."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

from tests.harness.programs import PikoProcessFactory

_EXAMPLE = Path(__file__).parents[2] / "examples" / "recipes"


def test_every_recipe_runs(piko_process: PikoProcessFactory, tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    shutil.copytree(_EXAMPLE, folder, ignore=shutil.ignore_patterns(".piko", "out", "__pycache__"))
    process = piko_process("-m", "piko", "dev", str(folder))
    for line in (
        "fetch_pages noted 20 things",
        "fetched 20 pages",
        "cheapest page: 1",
        "worked through 20 pages",
        "digits in all: 1290, of the largest: 149",
        "books closed from .* to ",
        "fetch_pages +SUCCESS",
    ):
        process.wait_for_line(line)
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    pages = [json.loads(line) for line in (folder / "out" / "pages.jsonl").read_text().splitlines()]
    assert {(item["key"], item["payload"]["cents"]) for item in pages} == {
        (str(page), (page * 37 + 11) % 500) for page in range(20)
    }
    prices = (folder / "out" / "prices.txt").read_text().split()
    refunds = (folder / "out" / "refunds.txt").read_text().splitlines()
    assert len(prices) // 2 == 9 * len(refunds)
    assert set(refunds) == {"9 late", "19 late"}
