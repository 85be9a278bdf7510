"""What the leader decides to do: the answers of `Leader.step`, for somebody else to carry out.

**Acts** are done at once: nothing is waited for, and an outcome goes on its way to the database by itself.
**Writes** (and the reads that go with them) take their time and may be refused in part. Each is answered with
the event that says what the database made of it; nothing that it asks for counts before that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from piko.catalog.jobs import Job
from piko.decisions.claims_ahead import ClaimedAhead
from piko.decisions.given_up import GivenUp
from piko.model.backfills import BackfillStep
from piko.model.claims import ClaimBatch, Withdrawal
from piko.model.runs import Outcome, Run
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove

# ---- acts -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Runs that are this replica's: their handlers begin, at their `starts_at` where they have one."""

    runs: Sequence[tuple[Run, Job]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The handler of a run is to end. Answered with `NotRunningHere` where this replica does not run it."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude:
    """The leader says how a run ended; `Recorded` follows when the database has it."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeInAgain:
    """The rows of these jobs are to be among the next `RowsChanged`, changed or not."""

    job_ids: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAgain:
    """The rows of these jobs are to be read again, and taken in, whether they look changed or not."""

    job_ids: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What the metrics are to say of jobs, see `series`. `forgotten` comes before the rest.

    None as an instant: there is none, and the job has no such series any more.
    """

    forgotten: Collection[str]
    next_run: Mapping[str, datetime | None]
    watermark: Mapping[str, datetime | None]
    last_run: Mapping[str, datetime]
    last_success: Mapping[str, datetime]
    missed: Mapping[tuple[str, str], int]
    """Instants that do not run although they should have, by job and reason."""
    skipped: Mapping[tuple[str, str], int]
    """Instants that do not run because the row says so, by job and reason."""
    refused: Mapping[str, int]
    """What the database has refused, and how often."""


class Level(StrEnum):
    """How much a fact matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """An event for the log."""

    level: Level
    event: str
    facts: Mapping[str, object]


# ---- writes, and the reads that go with them --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStates:
    """What the database knows of jobs whose rows the leader meets. Answered with `StatesRead`."""

    job_ids: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQueue:
    """What waits in the database is to be read now, and not at its usual time. Answered with `QueueRead`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreWatermarks:
    """What new rows lack of the ones before. Answered with `WatermarksRestored`."""

    moves: Sequence[WatermarkMove]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStates:
    """Rows of `job_state`. Answered with `StatesWritten`."""

    states: Sequence[JobState]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkDeleted:
    """Jobs whose rows were deleted: their states are kept for the next row."""

    job_ids: Sequence[str]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyWatermarks:
    """Jobs whose watermark somebody else has written: their states get a copy."""

    job_ids: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is due, decided at `now`. Answered with `Claimed`; only then anything of it counts."""

    batch: ClaimBatch
    now: datetime
    reasons: Sequence[str]
    """For each of `batch.passed_over`, the metrics' word for it."""
    given_up: Sequence[GivenUp]
    """Data that a bound drops."""
    replaced: Sequence[Run]
    """Runs in progress that a newer instant replaces."""
    superseded: Sequence[Run]
    """Queued runs that a newer instant replaces."""
    ahead: Mapping[str, ClaimedAhead] = field(default_factory=dict)
    """By run id, what each run was decided by that starts later."""

    def without(self, jobs: Collection[str]) -> Claim:
        """What is left where nothing of `jobs` could be written."""
        if not jobs:
            return self
        pairs = zip(self.batch.passed_over, self.reasons, strict=True)
        return replace(
            self,
            batch=self.batch.only(self.batch.jobs.difference(jobs)),
            reasons=[reason for item, reason in pairs if item.job_id not in jobs],
            given_up=[item for item in self.given_up if item.job_id not in jobs],
            replaced=[run for run in self.replaced if run.job_id not in jobs],
            superseded=[run for run in self.superseded if run.job_id not in jobs],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Claims that were made ahead are taken back, of runs that have not begun. Answered with `Withdrawn`."""

    withdrawals: Sequence[Withdrawal]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """Runs that were claimed ahead, and that their instances have not begun and never will, wait again, as
    the same attempts. Answered with `Requeued`."""

    runs: Sequence[Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartQueued:
    """Runs that wait may start, here or on any replica. Answered with `QueuedStarted`."""

    runs: Sequence[Run]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimWindows:
    """The next windows of backfills. Answered with `WindowsClaimed`."""

    steps: Sequence[BackfillStep]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainBackfills:
    """Why backfills wait, by id; None: they no longer do. Answered with `BackfillsExplained`."""

    messages: Mapping[str, str | None]
    jobs: Mapping[str, str]
    """The job of each."""


Act = Start | Cancel | Conclude | TakeInAgain | ReadAgain | Export | Log
Write = (
    ReadStates
    | ReadQueue
    | RestoreWatermarks
    | WriteStates
    | MarkDeleted
    | CopyWatermarks
    | Claim
    | Withdraw
    | Requeue
    | StartQueued
    | ClaimWindows
    | ExplainBackfills
)
Effect = Act | Write
