"""What happens to the leader: the arguments of `Leader.step`. Time, where it matters, is in the event."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from piko.decisions.effects import Claim
from piko.model.backfills import Backfill, BackfillStep
from piko.model.claims import Withdrawal
from piko.model.runs import Outcome, Run, RunProgress
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove

# ---- rows -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TermBegan:
    """A term of leadership begins, with what the database holds; every row is yet to be taken in."""

    states: Mapping[str, JobState]
    in_progress: Sequence[Run]
    queued: Sequence[Run]
    backfills: Sequence[Backfill]
    """The open ones, the oldest first."""
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsChanged:
    """The rows of these jobs were read and are new, changed or deleted, or are to be taken in again."""

    job_ids: Sequence[str]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StatesRead:
    """What the database knows of `job_ids`: of those without a state, nothing."""

    job_ids: Sequence[str]
    states: Mapping[str, JobState]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarksRestored:
    """After `moves`, rows hold `found`; a job that is not in it could not be written."""

    moves: Sequence[WatermarkMove]
    found: Mapping[str, datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatesWritten:
    """States are written, but for those of `held` jobs, of which somebody holds the row."""

    held: Collection[str]


# ---- turns ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A stage of a turn begins, see `Leader.stages`: what is due, or may start, by `now`?

    - `left_out`: jobs of which somebody holds rows just now.
    - `ahead`: the horizon; what comes due within it may be claimed already, see `claims_ahead`.
    - `late`: the runs claimed ahead whose time has come, and that may not begin yet; of the first stage.
    """

    stage: int
    now: datetime
    left_out: Collection[str] = ()
    ahead: timedelta = timedelta(0)
    late: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim is written, but for the jobs that were `left_out`; `won`: the runs that are ours, by id.

    Of the `held` among these somebody holds rows, and they may be tried again at `again_at`.
    """

    claim: Claim
    won: Mapping[str, Run]
    now: datetime
    left_out: Collection[str] = ()
    held: Collection[str] = ()
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """Of `withdrawals`, the runs of `won` will never begin, and their due times are free.

    Those of `begun` have begun. Nothing could be written yet of the jobs that were `left_out`; their runs do
    not begin either, and it is tried again when their rows are taken in again. All others have ended
    otherwise.
    """

    withdrawals: Sequence[Withdrawal]
    won: Collection[str]
    begun: Collection[str]
    now: datetime
    left_out: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued:
    """Runs that could be written; of these, `won` wait in the queue now."""

    runs: Sequence[Run]
    won: Collection[str]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedStarted:
    """Queued runs that could be written; of these, `won` were still queued."""

    runs: Sequence[Run]
    won: Collection[str]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsClaimed:
    """Steps of backfills that could be written; `won`: the runs that are ours, by id."""

    steps: Sequence[BackfillStep]
    won: Mapping[str, Run]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillsExplained:
    """Messages of backfills that are written."""

    messages: Mapping[str, str | None]


# ---- runs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A handler on this replica has ended; its outcome is on its way to the database."""

    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Outcomes are in the database. One that came too late has neither watermark nor retry."""

    outcomes: Sequence[Outcome]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRunningHere:
    """A run that is to be cancelled runs on another replica, or nowhere."""

    run_id: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRead:
    """What waits in the database; `complete`: there is no more. `asked`: what was known to wait before.

    `backfills`: the open ones, the oldest first.
    """

    asked: Collection[str]
    runs: Sequence[Run]
    complete: bool
    backfills: Sequence[Backfill]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRunsRead:
    """How far runs are whose end only the database can tell; of those that were `asked` for and are not
    `found` the rows were deleted."""

    asked: Collection[str]
    found: Mapping[str, RunProgress]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRunsFound:
    """Runs in progress that this replica does not run; the `lost` ones nobody will end, each for a reason.

    `unbegun`: those that were claimed ahead, and that nobody has begun or will begin.
    """

    runs: Sequence[Run]
    lost: Sequence[tuple[Run, str]]
    now: datetime
    unbegun: Sequence[Run] = ()


# ---- what the database says no to ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsRefused:
    """The database refuses `what` of these jobs, with its words."""

    what: str
    why: Mapping[str, str]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsAccepted:
    """The database has taken `what` of these jobs."""

    what: str
    job_ids: Collection[str]
    now: datetime


Event = (
    TermBegan
    | RowsChanged
    | StatesRead
    | WatermarksRestored
    | StatesWritten
    | Tick
    | Claimed
    | Withdrawn
    | Requeued
    | QueuedStarted
    | WindowsClaimed
    | BackfillsExplained
    | RunEnded
    | Recorded
    | NotRunningHere
    | QueueRead
    | RemoteRunsRead
    | UnknownRunsFound
    | RowsRefused
    | RowsAccepted
)
