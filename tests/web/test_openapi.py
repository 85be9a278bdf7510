"""What the API answers is what its description says, whatever a client sends."""

from __future__ import annotations

import asyncio

from tests.harness.databases import TestDatabase
from tests.web.rows import add_one_of_each
from tests.web.serving import served

_ACTORS = tuple(f"ann-{number}" for number in range(20))


async def test_each_answer_is_one_that_the_description_names(emptied_database: TestDatabase) -> None:
    from tests.web.described_requests import (
        ask,
        described_requests,
    )  # a second of imports, for this test alone

    await add_one_of_each(emptied_database)
    requests = described_requests()
    assert len(requests) > 300
    async with served(
        emptied_database, access="header", operators=_ACTORS, trusted_proxies=("127.0.0.1/32",)
    ) as origin:
        statuses, wrong = await asyncio.to_thread(ask, origin, requests, _ACTORS)
    assert not wrong, "\n".join(wrong)
    assert [label for label, seen in statuses.items() if 200 not in seen] == []
    assert {400, 404, 409, 422} <= set().union(*statuses.values())
