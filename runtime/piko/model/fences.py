"""Fences: the right by which a write is made. Holding one is the store's part, see `piko.store.fences`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The leadership `name` in its `epoch`, which grows by one with each change of leader."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFence:
    """An instance's right to record how the runs ended that it began under `epoch`.

    The right outlives a leadership that was released, and ends with one that was taken away.
    """

    instance_id: str
    epoch: int


OutcomeFence = Fence | InstanceFence
"""By what right an outcome is written: the leader's, who gives runs up, or the instance's that ran it."""
