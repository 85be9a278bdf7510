"""Sinks and dead letters: the lines of their lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.model.sinks import SinkState
from piko.store.reports.dead_letters import DeadLetterReport, LetterHolder
from piko.store.reports.sinks import SinkReport
from piko.web.views import links
from piko.web.views.words import Mark, Moment, Tone, first_line, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkLine:
    """A sink, or one replica's part of it, in a list; `letters_link` leads to its dead letters."""

    name: str
    mark: Mark
    error: str
    failing: Moment | None
    waiting: str
    oldest: Moment | None
    dead_letters: str
    letters_link: str | None
    parts: Sequence[SinkLine] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterLine:
    """A dead letter in a list; `asked` says what is asked to be done with it, and `notes` what to know."""

    letter_id: str
    sink: str
    sink_link: str
    job_id: str
    job_link: str
    run_id: str
    run_link: str
    key: str
    error: str
    died: Moment | None
    mark: Mark
    notes: Sequence[str]
    replay_link: str
    drop_link: str


_HOLDERS = {
    LetterHolder.ALIVE: Mark(text="Kept", tone=Tone.WARN),
    LetterHolder.SILENT: Mark(text="Replica silent", tone=Tone.BAD),
    LetterHolder.ENDED: Mark(text="Replica ended", tone=Tone.BAD),
}


def sink_line(item: SinkReport, now: datetime) -> SinkLine:
    """`item` as a line of the list, with a part for each replica."""
    whole = SinkState(
        sink=item.sink,
        durability="",
        waiting=item.waiting,
        oldest_at=item.oldest_at,
        error=item.error,
        failing_since=item.failing_since,
        dead_letters=item.dead_letters,
        first_died_at=item.first_died_at,
    )
    parts = [
        _line(share.host or share.instance_id, share.state, now, share.holder, share.instance_id)
        for share in item.replicas
    ]
    return _line(item.sink, whole, now, parts=parts if len(parts) > 1 else ())


def _line(
    name: str,
    state: SinkState,
    now: datetime,
    holder: LetterHolder = LetterHolder.ALIVE,
    instance_id: str = "",
    *,
    parts: Sequence[SinkLine] = (),
) -> SinkLine:
    """A line that says `state`.

    - `name`: of the sink, or of a replica.
    - `holder`, `instance_id`: the replica that says it; none: it is the sum of all.
    - `parts`: what each replica says.
    """
    mark = Mark(text="Takes all", tone=Tone.GOOD)
    if holder is not LetterHolder.ALIVE:
        mark = _HOLDERS[holder]
    elif state.error is not None:
        mark = Mark(text="Fails", tone=Tone.BAD)
    elif state.dead_letters:
        mark = Mark(text="Refuses some", tone=Tone.WARN)
    return SinkLine(
        name=name,
        mark=mark,
        error=first_line(state.error),
        failing=moment(state.failing_since, now),
        waiting=f"{state.waiting:,}",
        oldest=moment(state.oldest_at, now),
        dead_letters=f"{state.dead_letters:,}",
        letters_link=links.letters(sink=state.sink, replica=instance_id) if state.dead_letters else None,
        parts=parts,
    )


def letter_line(item: DeadLetterReport, now: datetime) -> LetterLine:
    """`item` as a line of the list."""
    mark = _HOLDERS[item.holder]
    notes = [each for each in (item.answer, item.note) if each]
    if item.asked:
        mark = Mark(text=f"{item.asked.capitalize()} asked", tone=Tone.BUSY)
        notes.insert(0, f"by {item.asked_by}; its replica does it at its next look")
    place = links.letter(item.letter_id)
    return LetterLine(
        letter_id=item.letter_id,
        sink=item.sink,
        sink_link=links.letters(sink=item.sink),
        job_id=item.job_id,
        job_link=links.job(item.job_id),
        run_id=item.run_id,
        run_link=links.run(item.run_id),
        key=item.key,
        error=first_line(item.error),
        died=moment(item.died_at, now),
        mark=mark,
        notes=notes,
        replay_link=f"{place}/replay",
        drop_link=f"{place}/drop",
    )
