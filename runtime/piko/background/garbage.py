"""How often Python looks for garbage while a program runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUAL_THRESHOLDS = (700, 2000)
"""Young objects after which CPython collects: until 3.12, and from 3.13 on."""
_THRESHOLD = 20_000


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Keep Python's collector off while modules are loaded: it takes a sixth of that, for nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Keep Python's collector from going through what is no garbage, many times a second.

    Modules, registered jobs and known resources stay. A run, or a change of a resource, makes some dozen
    objects, nearly all of which end with it and without the collector: by its usual threshold it would take a
    fifth of a busy replica's time.
    """
    gc.freeze()
    usual = gc.get_threshold()
    if usual[0] in _USUAL_THRESHOLDS:  # else the program that started this process has chosen
        gc.set_threshold(_THRESHOLD, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
