"""A hook that could not be called is refused where it is declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from piko import JobFailure, PikoApp
from piko.errors import RegistrationError


async def good(failure: JobFailure) -> None: ...


async def takes_nothing() -> None: ...


async def takes_two(failure: JobFailure, chat: str) -> None: ...


def not_async(failure: JobFailure) -> None: ...


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (
            lambda app: app.on_failure(not_async),
            r"the hook is not async; write `async def not_async\(failure\)",
        ),
        (lambda app: app.on_late(takes_nothing), r"the hook takes \(\)"),
        (lambda app: app.on_recovered(takes_two), r"missing a required argument: 'chat'"),
        (lambda app: app.on_failure(7), "the hook is not async"),
        (lambda app: app.on_failure("orders *")(good), "must be a job id, or a pattern of ids such as"),
        (lambda app: app.on_failure("orders", 7)(good), "7 must be a job id"),
    ],
)
def test_the_mistake_is_named(declare: Callable[[Any], object], said: str) -> None:
    with pytest.raises(RegistrationError, match=said):
        declare(PikoApp(name="shop"))


def test_a_hook_stays_the_function_that_it_is() -> None:
    app = PikoApp(name="shop")
    assert app.on_failure(good) is good
    assert app.on_failure("orders", "shop-*")(good) is good
