"""The most common words of a shelf of books, counted on all processors: `piko dev examples/words`."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, Field

from piko import JobContext, PikoApp, resource

SHELF = Path(__file__).parent

logger = logging.getLogger("words")

app = PikoApp(name="words")
api_app = app.api_app


class WordsConfig(BaseModel):
    """What a PikoJobConfig or a row of job_config may set."""

    top: int = Field(3, ge=1, le=100, description="how many words are kept")
    shortest: int = Field(4, ge=1, description="letters that a word must have")


@resource(scope="app")
@asynccontextmanager
async def results() -> AsyncGenerator[sqlite3.Connection, None]:
    """Opened by the first run that needs it, shared by all, closed when the app stops."""
    with closing(sqlite3.connect(SHELF / "words.db", check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY, times INTEGER NOT NULL)")
        yield connection


def paragraphs() -> Iterator[str]:
    """Read as workers become free, so that a shelf need not fit in memory."""
    for book in sorted(SHELF.glob("*.txt")):
        yield from book.read_text(encoding="utf-8").split("\n\n")


@app.job(schema=WordsConfig, resources={"results": results}, timeout_s=60)
async def count_words(
    ctx: JobContext[WordsConfig], scheduled_time: datetime, results: sqlite3.Connection
) -> None:
    """Count in worker processes, add up, keep the most common."""
    shortest = ctx.config.shortest

    def words_of(paragraph: str) -> Counter[str]:
        words = "".join(letter if letter.isalpha() else " " for letter in paragraph.lower()).split()
        return Counter(word for word in words if len(word) >= shortest)

    counted = await app.cpu_manager.map_reduce(
        words_of, paragraphs(), reduce_fn=lambda left, right: left + right, initial=Counter[str]()
    )
    commonest = counted.most_common(ctx.config.top)
    with results:
        results.execute("DELETE FROM words")
        results.executemany("INSERT INTO words VALUES (?, ?)", commonest)
    ctx.record(words=counted.total(), different=len(counted))
    logger.info("commonest words: %s", ", ".join(f"{word} {times}" for word, times in commonest))


if __name__ == "__main__":
    app.run()
