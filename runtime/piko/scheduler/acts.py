"""Effects that are carried out at once: on handlers, the ledger of outcomes, the log and the metrics."""

from __future__ import annotations

from piko.catalog.catalog import Catalog
from piko.clock import Clock
from piko.decisions import effects
from piko.decisions.effects import Act, Level
from piko.decisions.events import Event, NotRunningHere
from piko.decisions.leader import Leader
from piko.execution.executor import Executor
from piko.execution.ledger import Ledger
from piko.execution.upcoming import UpcomingRuns
from piko.model.fences import Fence, InstanceFence
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.scheduler.series import show

log = get_logger(__name__)


class Acts:
    """Carries out what the leader of one term decides and takes no time."""

    def __init__(
        self,
        *,
        leader: Leader,
        fence: Fence,
        instance_id: str,
        executor: Executor,
        upcoming: UpcomingRuns,
        ledger: Ledger,
        catalog: Catalog,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._leader = leader
        self._fence = fence
        self._handlers_fence = InstanceFence(instance_id=instance_id, epoch=fence.epoch)
        self._executor = executor
        self._upcoming = upcoming
        self._ledger = ledger
        self._catalog = catalog
        self._metrics = metrics
        self._clock = clock

    def feed(self, event: Event) -> None:
        """Step with an event that only acts follow from: one that comes in between."""
        for effect in self._leader.step(event):
            if not isinstance(effect, Act):
                raise TypeError(f"{type(event).__name__} asks for {type(effect).__name__}, which takes time")
            if (answer := self.carry_out(effect)) is not None:
                self.feed(answer)

    def carry_out(self, act: Act) -> NotRunningHere | None:
        """Do it; the answer, where there is one."""
        match act:
            case effects.Start(runs=runs):
                for run, job in runs:
                    begin = self._executor.start if run.starts_at is None else self._upcoming.hold
                    begin(run, job, self._handlers_fence)
            case effects.Cancel(run_id=run_id, reason=reason):
                return self._cancel(run_id, reason)
            case effects.Conclude(outcome=outcome):
                self._ledger.put(outcome, self._fence)
            case effects.TakeInAgain(job_ids=job_ids):
                self._catalog.touch(set(job_ids))
            case effects.ReadAgain(job_ids=job_ids):
                self._catalog.doubted.update(job_ids)
            case effects.Export():
                show(self._metrics, act)
            case effects.Log():
                _log(act)
        return None

    def _cancel(self, run_id: str, reason: str) -> NotRunningHere | None:
        if self._upcoming.withdraw(run_id):
            self._upcoming.forget({run_id})
        if run_id not in self._executor:
            return NotRunningHere(run_id=run_id, reason=reason, now=self._clock.now())
        self._executor.cancel(run_id, reason=reason)
        return None


def _log(fact: effects.Log) -> None:
    match fact.level:
        case Level.INFO:
            log.info(fact.event, **fact.facts)
        case Level.WARNING:
            log.warning(fact.event, **fact.facts)
        case Level.ERROR:
            log.error(fact.event, **fact.facts)
