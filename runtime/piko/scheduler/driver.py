"""The leader of one term, and the hands that carry out what it decides."""

from __future__ import annotations

from piko.decisions import effects
from piko.decisions.effects import Effect
from piko.decisions.events import Event
from piko.decisions.leader import Leader
from piko.model.fences import Fence
from piko.scheduler.acts import Acts
from piko.scheduler.queue import Queue
from piko.scheduler.row_writes import RowWrites
from piko.scheduler.run_writes import RunWrites


class Driver:
    """Steps the leader, carries out what follows in order, and steps with each answer in its turn."""

    def __init__(
        self, *, fence: Fence, leader: Leader, acts: Acts, rows: RowWrites, runs: RunWrites, queue: Queue
    ) -> None:
        self.fence = fence
        self.leader = leader
        self.acts = acts
        self.rows = rows
        self.queue = queue
        self._runs = runs

    async def feed(self, event: Event) -> None:
        """Step with `event`. Raises `FencedError` when the term is over."""
        for effect in self.leader.step(event):
            answer = await self._carry_out(effect)
            if answer is not None:
                await self.feed(answer)

    async def _carry_out(self, effect: Effect) -> Event | None:  # noqa: C901 - one line for each effect
        rows, runs = self.rows, self._runs
        match effect:
            case effects.Claim():
                return await runs.claim(effect)
            case effects.Withdraw():
                return await runs.withdraw(effect)
            case effects.Requeue():
                return await runs.requeue(effect)
            case effects.StartQueued():
                return await runs.start_queued(effect)
            case effects.ClaimWindows():
                return await runs.claim_windows(effect)
            case effects.ExplainBackfills():
                return await runs.explain(effect)
            case effects.ReadStates():
                return await rows.read_states(effect.job_ids)
            case effects.WriteStates():
                return await rows.write_states(effect.states)
            case effects.RestoreWatermarks():
                return await rows.restore(effect.moves)
            case effects.MarkDeleted():
                await rows.mark_deleted(effect.job_ids)
            case effects.CopyWatermarks():
                await rows.copy_watermarks(effect.job_ids)
            case effects.ReadQueue():
                return await self.queue.read(asked=self.leader.runs.waiting_ids)
            case _:
                return self.acts.carry_out(effect)
        return None
