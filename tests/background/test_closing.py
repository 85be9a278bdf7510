"""Closing as a stack: the last first, each within its bound, whatever the others do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.background.closing import ClosingStack
from tests.harness.waiting import wait_until_async

FAILURES: dict[str, Any] = {
    "raises": ValueError("no"),
    "interrupts": KeyboardInterrupt(),
    "exits": SystemExit(3),
    "is cancelled": asyncio.CancelledError(),
}


class Closers:
    """Closings that behave as they are called, and note that they were."""

    def __init__(self, kinds: list[str]) -> None:
        self.kinds = kinds
        self.called: list[int] = []
        self.freed = asyncio.Event()

    def stack(self) -> ClosingStack:
        stack = ClosingStack()
        for number in range(len(self.kinds)):
            stack.push(f"number {number}", lambda number=number: self.close(number), within_s=0.02)  # type: ignore[misc]
        return stack

    async def close(self, number: int) -> None:
        self.called.append(number)
        kind = self.kinds[number]
        if kind == "hangs":
            await asyncio.Event().wait()
        if kind == "is deaf":
            while not self.freed.is_set():
                try:
                    await self.freed.wait()
                except asyncio.CancelledError:
                    continue
        if kind in FAILURES:
            raise FAILURES[kind]


KINDS = st.lists(st.sampled_from([*FAILURES, "hangs", "closes"]), max_size=5)


@pytest.mark.usefixtures("slow")
@settings(max_examples=15)
@given(kinds=KINDS, together=st.booleans())
def test_each_is_closed_once_whatever_the_others_do(kinds: list[str], together: bool) -> None:
    async def main() -> None:
        closers = Closers(kinds)
        stack = closers.stack()
        await (stack.close_together() if together else stack.close())
        if together:
            assert sorted(closers.called) == list(range(len(kinds)))
        else:
            assert closers.called == list(reversed(range(len(kinds))))
        assert stack.abandoned == 0

    asyncio.run(main())


@pytest.mark.usefixtures("slow")
async def test_one_that_swallows_its_cancellation_is_counted_and_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    closers = Closers(["closes", "is deaf", "raises"])
    stack = closers.stack()
    await stack.close()
    assert closers.called == [2, 1, 0]
    assert stack.abandoned == 1
    out = capsys.readouterr().out
    assert "closing_goes_on" in out
    assert "what='number 1'" in out
    closers.freed.set()
    await wait_until_async(lambda: not stack.abandoned, what="its end")


async def test_a_cancellation_cuts_one_closing_short_and_not_the_others() -> None:
    closers = Closers(["closes", "closes", "hangs"])
    stack = ClosingStack()
    for number in range(3):
        stack.push(f"number {number}", lambda number=number: closers.close(number), within_s=60)  # type: ignore[misc]
    closing = asyncio.create_task(stack.close())
    await wait_until_async(lambda: closers.called, what="the first closing")
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert closers.called == [2, 1, 0]
