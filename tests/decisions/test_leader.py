"""The leader as a state machine: events in, effects out, and nothing counts before it is written."""

from __future__ import annotations

from typing import get_args

from piko.core.types import RunState, TriggerType
from piko.decisions import effects
from piko.decisions.events import (
    Claimed,
    Event,
    NotRunningHere,
    QueuedStarted,
    RemoteRunsRead,
    RunEnded,
    Tick,
)
from piko.model.runs import Run, RunProgress
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, row


def steps(leader: Leader, now: str) -> list[effects.Effect]:
    """What the first stage of a turn decides; nothing of it is carried out."""
    return list(leader.leader.step(Tick(stage=0, now=at(now))))


def test_every_event_has_its_handler() -> None:
    assert set(get_args(Event)) == set(Leader().leader._handlers)


def test_every_effect_is_an_act_or_a_write() -> None:
    assert set(get_args(effects.Effect)) == {*get_args(effects.Act), *get_args(effects.Write)}
    assert not {*get_args(effects.Act)} & {*get_args(effects.Write)}


def test_a_claim_that_is_not_answered_counts_for_nothing() -> None:
    leader = Leader(row())
    before = leader.state()
    claims = [effect for effect in steps(leader, "12:00:10") if isinstance(effect, effects.Claim)]

    assert [run.scheduled_time for run in claims[0].batch.runs] == [at("12:00:10")]
    assert leader.state() == before
    assert leader.running() == []


def test_what_was_left_out_of_a_claim_is_looked_at_again_at_its_moment() -> None:
    leader = Leader(row("free"), row("held"))
    claims = [effect for effect in steps(leader, "12:00:10") if isinstance(effect, effects.Claim)]
    won = {run.run_id: run for run in claims[0].batch.runs if run.job_id == "free"}
    answer = Claimed(
        claim=claims[0],
        won=won,
        now=at("12:00:10"),
        left_out={"held"},
        held={"held"},
        again_at=at("12:00:10.500"),
    )
    leader.feed(answer)

    assert [run.job_id for run in leader.running()] == ["free"]
    assert leader.earliest == at("12:00:10.500")
    assert [run.job_id for run in leader.tick(at("12:00:10.500"))] == ["held"]


def test_a_queued_run_that_somebody_else_has_ended_does_not_start() -> None:
    leader = Leader(row(overlap_policy="queue"))
    (first,) = leader.tick(at("12:00:10"))
    leader.tick(at("12:00:20"))
    (waits,) = leader.waiting()
    leader.feed(RunEnded(run=first))
    leader.feed(QueuedStarted(runs=[waits], won=(), now=at("12:00:21")))

    assert leader.running() == []
    assert leader.waiting() == []


def test_a_run_that_is_to_be_cancelled_and_is_not_here_is_ended_in_the_database() -> None:
    leader = Leader(row())
    (run,) = leader.tick(at("12:00:10"))
    leader.feed(NotRunningHere(run_id=run.run_id, reason="somebody asked for it", now=at("12:00:11")))

    assert leader.ended == {run.run_id: RunState.CANCELLED}
    assert leader.running() == []


def remote_run_ends(leader: Leader, state: RunState) -> tuple[Run, list[type]]:
    """A window of the job ends on another replica; it, and what the leader does when it reads that."""
    (run,) = leader.tick(at("12:00:10"))
    leader.progress.hold([run])
    progress = RunProgress(
        run_id=run.run_id, job_id="job", state=state, started_at=NOON, finished_at=at("12:00:12")
    )
    read = RemoteRunsRead(asked={run.run_id}, found={run.run_id: progress}, now=at("12:00:12"))
    return run, [type(effect) for effect in leader.leader.step(read)]


def test_the_success_of_a_remote_run_counts_at_once() -> None:
    leader = Leader(row(last_data_time=NOON), stateful={"job"})
    run, decided = remote_run_ends(leader, RunState.SUCCESS)

    assert decided == [effects.Export]
    assert leader.running() == []
    assert run.window is not None
    assert leader.leader.agenda.watermarks.of(row(last_data_time=NOON)) == run.window.end


def test_the_queue_is_read_before_another_end_of_a_remote_run_counts() -> None:
    leader = Leader(row(last_data_time=NOON), stateful={"job"})
    run, decided = remote_run_ends(leader, RunState.FAILED)

    assert decided == [effects.Export, effects.ReadQueue]
    assert leader.running() == [run], "until then the job stays busy"
    leader.feed(leader.database.queue(asked=(), now=at("12:00:12")))
    assert leader.running() == []


def test_what_waits_for_a_remote_run_is_known() -> None:
    leader = Leader(row(last_data_time=at("11:00:00")), stateful={"job"})
    (run,) = leader.tick(at("12:00:10"))
    assert run.trigger_type is TriggerType.CATCH_UP
    assert not leader.leader.awaits_remote_end(without=set()), "its end is heard of here"

    leader.progress.hold([run])
    assert leader.leader.awaits_remote_end(without=set())
    assert not leader.leader.awaits_remote_end(without={run.run_id})
