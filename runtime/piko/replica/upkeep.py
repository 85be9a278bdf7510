"""What the leader does beside its jobs, composed: what it resumes, logs, announces, and forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from piko.background.supervisor import Part
from piko.core.hooks import Hooks
from piko.execution.hook_calls import HookCalls
from piko.execution.webhook_calls import WebhookCalls
from piko.leadership.elector import Elector
from piko.model.announcements import Recipient
from piko.replica.deadline_watch import DeadlineWatch
from piko.replica.ground import Ground
from piko.scheduler.announcer import Announcer
from piko.scheduler.announcing_pages import AnnouncingPages
from piko.scheduler.audit import Audit
from piko.scheduler.data_deadlines import DataDeadlines
from piko.scheduler.resumption import Resumption
from piko.scheduler.retention import Retention
from piko.scheduler.webhook_poster import WebhookPoster
from piko.scheduler.webhook_queue import WebhookQueue
from piko.store.announcements import AnnouncementStore
from piko.store.audited_backfills import AuditedBackfills
from piko.store.audited_rows import audited_configs, audited_schedules
from piko.store.changes import ChangeStore
from piko.store.data_deadlines import DataDeadlineStore
from piko.store.ends_by_sql import EndsBySql
from piko.store.idempotency import IdempotencyKeys
from piko.store.pauses import PauseStore
from piko.store.progress import ProgressStore
from piko.store.retention import RetentionStore
from piko.store.webhook_posts import WebhookPostStore


def resumption_of(ground: Ground, elector: Elector) -> Resumption:
    """What resumes jobs whose pause ends."""
    return Resumption(
        store=PauseStore(database=ground.database),
        elector=elector,
        metrics=ground.metrics,
        name_of_leader=ground.instance.host,
        poll_interval_s=ground.settings.poll_interval_s,
    )


def audit_of(ground: Ground, elector: Elector) -> Audit:
    """What gives edits by SQL their line in `change_log`."""
    return Audit(
        schedules=audited_schedules(ground.database),
        configs=audited_configs(ground.database),
        backfills=AuditedBackfills(database=ground.database),
        ends=EndsBySql(database=ground.database),
        catalog=ground.catalog,
        elector=elector,
        clock=ground.clock,
        metrics=ground.metrics,
        poll_interval_s=ground.settings.poll_interval_s,
    )


def data_deadlines_of(ground: Ground, elector: Elector) -> DataDeadlines:
    """What writes down from when on data is late."""
    return DataDeadlines(
        store=DataDeadlineStore(database=ground.database),
        catalog=ground.catalog,
        elector=elector,
        clock=ground.clock,
        metrics=ground.metrics,
        timezone=ground.settings.timezone,
    )


def announcer_of(ground: Ground, elector: Elector, *, hooks: Hooks, watch: DeadlineWatch) -> Announcer:
    """What calls the hooks of the app."""
    store = AnnouncementStore(database=ground.database, recipient=Recipient.HOOKS)
    return Announcer(
        store=store,
        pages=_pages(ground, store, watch),
        calls=HookCalls(hooks=hooks, metrics=ground.metrics, timeout_s=ground.settings.hook_timeout_s),
        elector=elector,
        metrics=ground.metrics,
    )


def webhook_of(ground: Ground, elector: Elector, *, watch: DeadlineWatch) -> Sequence[Part]:
    """What queues and posts announcements; nothing where no URL is set."""
    settings, queued = ground.settings, asyncio.Event()
    if settings.webhook_url is None or settings.webhook_key is None:
        return ()
    posts = WebhookPostStore(database=ground.database)
    announced = AnnouncementStore(database=ground.database, recipient=Recipient.WEBHOOK)
    queue = WebhookQueue(
        store=posts,
        pages=_pages(ground, announced, watch),
        queued=queued,
        elector=elector,
        clock=ground.clock,
        metrics=ground.metrics,
    )
    calls = WebhookCalls(
        url=settings.webhook_url,
        key=settings.webhook_key,
        ca=settings.webhook_ca,
        timeout_s=settings.webhook_timeout_s,
        clock=ground.clock,
    )
    poster = WebhookPoster(
        store=posts,
        calls=calls,
        queued=queued,
        elector=elector,
        clock=ground.clock,
        metrics=ground.metrics,
        retry_s=settings.webhook_retry_s,
    )
    return queue, poster


def _pages(ground: Ground, store: AnnouncementStore, watch: DeadlineWatch) -> AnnouncingPages:
    return AnnouncingPages(
        store=store, in_trouble=watch.in_trouble, clock=ground.clock, timezone=ground.settings.timezone
    )


def retention_of(ground: Ground, elector: Elector) -> Retention:
    """What deletes old runs, locks and revisions."""
    return Retention(
        store=RetentionStore(database=ground.database),
        kept=ProgressStore(database=ground.database),
        changes=ChangeStore(database=ground.database),
        keys=IdempotencyKeys(database=ground.database),
        configs=ground.configs,
        elector=elector,
        clock=ground.clock,
        metrics=ground.metrics,
        max_age_s=ground.settings.history_max_age_s,
        most_changes=ground.settings.history_changes,
    )
