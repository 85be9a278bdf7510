"""Fences: by what right a write is made.

A replica that leads has a fence, and so does each instance for the runs that it began. The database holds the
epoch that counts; `piko.store.fences` compares the two in the transaction of the write, and refuses one whose
right has passed to somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The right of the leader `name` in its `epoch`, which grows by one with each change of leader."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFence:
    """The right of an instance to record how the runs ended that it began under `epoch`.

    It remains when a leader releases its leadership, and ends when another takes the leadership over.
    """

    instance_id: str
    epoch: int


OutcomeFence = Fence | InstanceFence
"""An outcome is written by the leader, which gives runs up, or by the instance that ran it."""
