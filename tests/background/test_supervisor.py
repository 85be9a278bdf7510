from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from piko.background.backoff import Backoff
from piko.background.supervisor import Supervisor
from piko.errors import DatabaseUnavailableError
from piko.observability.metrics import Metrics
from tests.harness.waiting import PATIENCE_S, wait_until_async

SETTLED_S = 0.1
NEVER_S = 10 * PATIENCE_S
"""After that a part counts as settled whose test looks at what has failed, however late it looks."""


class Part:
    """A background part that does `steps` one after the other, one for each start."""

    def __init__(self, *steps: Callable[[], Awaitable[None]], name: str = "part") -> None:
        self.name = name
        self.starts = 0
        self.cancelled = False
        self._steps = steps

    async def run(self) -> None:
        step = self._steps[min(self.starts, len(self._steps) - 1)]
        self.starts += 1
        try:
            await step()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def for_ever() -> None:
    await asyncio.Event().wait()


async def returns() -> None:
    """Ends at once."""


def fails(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def step() -> None:
        raise error

    return step


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def supervisor_of(metrics: Metrics, *, settled_s: float = NEVER_S) -> Supervisor:
    """One that starts parts again soon."""
    return Supervisor(
        restarts=metrics.part_restarts, backoff=Backoff(first_s=0.01, longest_s=0.05), settled_s=settled_s
    )


@pytest.fixture
async def keep(metrics: Metrics) -> AsyncIterator[Callable[[Part], Supervisor]]:
    supervisor = supervisor_of(metrics)
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []

        def start(part: Part) -> Supervisor:
            tasks.append(group.create_task(supervisor.keep(part)))
            return supervisor

        yield start
        for task in tasks:
            task.cancel()


def restarts(metrics: Metrics, name: str = "part") -> float:
    return metrics.registry.get_sample_value("piko_part_restarts_total", {"part": name}) or 0


Keep = Callable[[Part], Supervisor]


async def test_a_part_that_fails_is_started_again_and_said_to_fail(keep: Keep, metrics: Metrics) -> None:
    part = Part(fails(ValueError("no luck")), for_ever)
    supervisor = keep(part)

    await wait_until_async(lambda: supervisor.failing, what="a failing part")
    assert supervisor.failing == {"part": "ValueError: no luck"}
    await wait_until_async(lambda: part.starts == 2, what="the second start")
    assert restarts(metrics) == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("own")])
async def test_a_part_that_wants_to_end_the_process_is_started_again(
    error: BaseException, keep: Keep, metrics: Metrics
) -> None:
    part, neighbour = Part(fails(error), for_ever), Part(for_ever, name="neighbour")
    supervisor = keep(part)
    keep(neighbour)
    await wait_until_async(lambda: part.starts == 2, what="the second start")
    assert type(error).__name__ in supervisor.failing["part"]
    assert restarts(metrics) == 1
    assert not neighbour.cancelled


async def test_a_part_that_has_run_for_a_while_no_longer_fails(metrics: Metrics) -> None:
    supervisor = supervisor_of(metrics, settled_s=SETTLED_S)
    failing_at_start: list[set[str]] = []

    async def goes_well() -> None:
        failing_at_start.append(set(supervisor.failing))
        await for_ever()

    supervisor.start(Part(fails(ValueError()), goes_well))
    await wait_until_async(lambda: failing_at_start and not supervisor.failing, what="a settled part")
    assert failing_at_start == [{"part"}], "a part that has only just started has proved nothing"
    await supervisor.stop_all()


async def test_pauses_grow_while_a_part_goes_on_failing(
    keep: Keep, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    part = Part(*[fails(ValueError())] * 5, for_ever)
    keep(part)
    while part.starts < 6:
        await sleep(0.001)

    assert pauses == [0.01, 0.02, 0.04, 0.05, 0.05]


async def test_a_part_that_fails_leaves_its_neighbours_alone(keep: Keep) -> None:
    bad, good = Part(fails(ValueError()), name="bad"), Part(for_ever, name="good")
    supervisor = keep(bad)
    keep(good)

    await wait_until_async(lambda: bad.starts >= 3, what="restarts")
    assert (good.starts, good.cancelled) == (1, False)
    assert supervisor.failing.keys() == {"bad"}


async def test_a_part_that_something_within_cancels_does_not_end_in_silence(keep: Keep) -> None:
    part = Part(fails(asyncio.CancelledError()), for_ever)
    supervisor = keep(part)

    await wait_until_async(lambda: part.starts == 2, what="the second start")
    assert "cancelled" in supervisor.failing["part"]


async def test_a_part_may_come_to_its_end(metrics: Metrics) -> None:
    supervisor = supervisor_of(metrics)
    part = Part(fails(ValueError()), returns)

    await asyncio.wait_for(supervisor.keep(part), timeout=PATIENCE_S)

    assert (part.starts, supervisor.failing) == (2, {})


@pytest.mark.parametrize("settled", [False, True])
async def test_cancelling_ends_the_part_and_starts_it_no_more(metrics: Metrics, settled: bool) -> None:
    part = Part(for_ever)
    task = asyncio.create_task(supervisor_of(metrics, settled_s=SETTLED_S).keep(part))
    await wait_until_async(lambda: part.starts, what="the start")
    if settled:
        await asyncio.sleep(2 * SETTLED_S)  # the time after which the part counts as settled
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert (part.starts, part.cancelled) == (1, True)
    assert restarts(metrics) == 0


async def test_an_error_that_says_everything_is_logged_without_a_traceback(keep: Keep) -> None:
    with capture_logs() as logged:
        keep(Part(fails(DatabaseUnavailableError("the database is away")), for_ever, name="known"))
        keep(Part(fails(ValueError("a defect")), for_ever, name="unknown"))
        await wait_until_async(lambda: len(logged) == 2, what="two log records")

    reported = {item["part"]: item["exc_info"] for item in logged}
    assert reported["known"] is None
    assert isinstance(reported["unknown"], ValueError)


# ---- parts that it starts and stops -----------------------------------------------------------------


async def test_parts_are_stopped_one_by_one_or_all_the_last_first(metrics: Metrics) -> None:
    ended: list[str] = []

    class Noting(Part):
        async def run(self) -> None:
            try:
                await super().run()
            finally:
                ended.append(self.name)

    supervisor = supervisor_of(metrics)
    parts = [Noting(for_ever, name=name) for name in "abcd"]
    for part in parts:
        supervisor.start(part)
    await wait_until_async(lambda: all(part.starts for part in parts), what="all starts")

    await supervisor.stop("b")
    assert ended == ["b"]
    await supervisor.stop("b")
    await supervisor.stop("nobody")
    await supervisor.stop_all()
    assert ended == ["b", "d", "c", "a"]
    assert supervisor.ended == []


async def test_a_part_that_returned_although_nobody_ended_it_is_named(metrics: Metrics) -> None:
    supervisor = supervisor_of(metrics)
    supervisor.start(Part(returns, name="short"))
    supervisor.start(Part(for_ever, name="long"))
    await wait_until_async(lambda: supervisor.ended, what="a part that has ended")
    assert supervisor.ended == ["short"]
    await supervisor.stop_all()
    assert supervisor.ended == []
