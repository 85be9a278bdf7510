"""What cannot be read costs only itself."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from piko.errors import DatabaseUnavailableError
from piko_operator.apart import apart


@pytest.mark.parametrize("bad", [set(), {"j0"}, {"j6"}, {"j3", "j4"}, {f"j{n}" for n in range(7)}])
async def test_all_others_are_read_and_the_bad_ones_named(bad: set[str]) -> None:
    ids = [f"j{n}" for n in range(7)]

    async def read(job_ids: Collection[str]) -> dict[str, int]:
        if found := bad & set(job_ids):
            raise ValueError(f"cannot read {found}")
        return {job_id: len(job_id) for job_id in job_ids}

    blamed: list[str] = []
    assert set(await apart(read, ids, blame=lambda job_id, _: blamed.append(job_id))) == set(ids) - bad
    assert set(blamed) == bad


async def test_a_database_that_is_away_is_nobodys_fault() -> None:
    async def read(_: Collection[str]) -> dict[str, int]:
        raise DatabaseUnavailableError("away")

    with pytest.raises(DatabaseUnavailableError):
        await apart(read, ["a", "b"], blame=lambda *_: pytest.fail("nobody is to blame"))
