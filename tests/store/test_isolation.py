"""One job's poison in a batch of many: it is found, the others are written."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import exc

from piko.errors import DatabaseUnavailableError, RowsLockedError
from piko.store.isolation import write_isolated


class Server:
    """Takes what holds no poison, all of it or nothing; counts how often it is asked."""

    def __init__(self, jobs: Collection[str], poison: Collection[str] = ()) -> None:
        self.jobs = sorted(jobs)
        self.poison = set(poison)
        self.written: list[str] = []
        self.asked = 0

    async def write(self, jobs: Collection[str] | None) -> int:
        self.asked += 1
        part = self.jobs if jobs is None else sorted(jobs)
        for job_id in part:
            if job_id in self.poison:
                raise exc.DataError("INSERT …", {}, Exception(1264, f"Out of range: {job_id}"))
        self.written += part
        return len(part)


names = st.sets(st.text("abcdef", min_size=1, max_size=4), max_size=40)


@given(jobs=names, poison=names, suspects=names)
async def test_exactly_the_poison_is_refused_and_the_rest_written_once(
    jobs: set[str], poison: set[str], suspects: set[str]
) -> None:
    server = Server(jobs, poison)
    written = await write_isolated(server.write, jobs=lambda: jobs, suspects=suspects)

    assert set(written.refused) == jobs & poison
    assert sorted(server.written) == sorted(jobs - poison)
    assert sum(written.results) == len(jobs - poison)
    assert all(f"Out of range: {job_id}" in why for job_id, why in written.refused.items())


async def test_nothing_is_spent_while_nothing_is_refused() -> None:
    def jobs() -> list[str]:
        raise AssertionError("the jobs are not asked for")

    server = Server(["a", "b"])
    assert (await write_isolated(server.write, jobs=jobs)).results == [2]
    assert server.asked == 1


async def test_one_among_five_hundred_costs_two_tries_for_each_halving() -> None:
    jobs = [f"job-{number}" for number in range(500)]
    server = Server(jobs, ["job-77"])
    await write_isolated(server.write, jobs=lambda: jobs)
    assert server.asked <= 2 * 9 + 1
    known = Server(jobs, ["job-77"])
    await write_isolated(known.write, jobs=lambda: jobs, suspects=["job-77"])
    assert known.asked == 2, "the others in one piece, and it alone"


async def test_a_database_that_is_away_refuses_nothing() -> None:
    async def write(_jobs: Collection[str] | None) -> None:
        raise DatabaseUnavailableError("away")

    with pytest.raises(DatabaseUnavailableError):
        await write_isolated(write, jobs=lambda: ["a", "b"])


@pytest.mark.parametrize(
    "error", [OverflowError("int too big"), "\ud800".encode, TypeError("no such type"), ValueError("year 0")]
)
async def test_what_the_driver_cannot_hand_over_is_a_refusal_too(error: object) -> None:
    async def write(jobs: Collection[str] | None) -> None:
        if jobs is None or "bad" in jobs:
            if callable(error):
                error()
            raise error  # type: ignore[misc]

    written = await write_isolated(write, jobs=lambda: ["bad", "good"])
    assert set(written.refused) == {"bad"}


async def test_the_words_are_the_servers_alone() -> None:
    async def write(_jobs: Collection[str] | None) -> None:
        raise exc.OperationalError(
            "INSERT INTO job_config", {"secret": "s3cret"}, Exception(1644, "no " * 9_000)
        )

    (why,) = (await write_isolated(write, jobs=lambda: ["a"])).refused.values()
    assert why.startswith("Exception: (1644, 'no no ")
    assert "s3cret" not in why
    assert "INSERT" not in why
    assert len(why) <= 1_000


async def test_a_lock_that_is_gone_at_the_next_try_costs_no_search() -> None:
    tries: list[object] = []

    async def write(jobs: Collection[str] | None) -> None:
        tries.append(jobs)
        if len(tries) == 1:
            raise RowsLockedError("a neighbour's")

    async def whose(_job_ids: Collection[str]) -> set[str]:
        raise AssertionError("nothing is to be searched for")

    written = await write_isolated(write, jobs=lambda: ["a", "b"], whose=whose)
    assert tries == [None, None]
    assert not written.left_out
    assert len(written.results) == 1


async def test_who_is_held_and_had_to_be_searched_for_is_said() -> None:
    async def write(jobs: Collection[str] | None) -> None:
        if jobs is None or "a" in jobs:
            raise RowsLockedError("somebody's")

    async def whose(_job_ids: Collection[str]) -> set[str]:
        return {"a"}

    written = await write_isolated(write, jobs=lambda: ["a", "b"], whose=whose)
    assert written.held == written.searched == {"a"}
    assert len(written.results) == 1, "the other is written"
