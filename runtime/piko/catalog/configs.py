"""Which config a run receives.

Every content that `job_config` ever held is a revision. The newest revision that has taken effect is in
force: it is valid, its `effective_from` has come, and it was still in the row at that time. So a config
for the future leaves the present one in force until then, across restarts; a config that is replaced
before its time never takes effect; and an invalid config never replaces a valid one.

A revision that was valid once stays in force even if the model of a later release refuses it. Its runs
fail and say so, because falling back to a config that somebody replaced long ago would be worse.
Conversely, a refused revision takes effect with the first release whose model accepts it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from piko.catalog.typed_config import config_warning, secrets_in, typed_config
from piko.core.registry import JobDefinition, JobRegistry
from piko.errors import ConfigError, did_you_mean
from piko.identity import content_hash
from piko.json_object import read_object
from piko.model.configs import ConfigRevision, ConfigRow, hashed_parts
from piko.model.revisions import revision_in_force
from piko.observability.redaction import secrets_of

_LAST_REVISIONS = 5
"""Revisions of a job whose secrets are hidden: what a run hands over may arrive after its config changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigInForce:
    """What a run receives as `ctx["config"]`. `revision` is None if nothing was ever configured."""

    revision: int | None
    value: Any = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Texts that no error may show."""


class ConfigBook:
    """The revisions of every job's config, as this replica knows them.

    `secrets`: texts that no run may show, whatever its config: those of the program's own settings.
    """

    def __init__(self, *, registry: JobRegistry, secrets: frozenset[str] = frozenset()) -> None:
        self.secrets = secrets
        self._registry = registry
        self._revisions: dict[str, list[ConfigRevision]] = {}
        self._rows: dict[str, ConfigRow] = {}
        self._unrecorded: dict[tuple[str, int], ConfigRevision] = {}
        self._has_defaults: dict[str, bool] = {}
        self._secrets_of: dict[str, tuple[Sequence[ConfigRevision], frozenset[str]]] = {}
        """By job: its secrets, and the revisions that they are of; to find them means to validate each."""

    def job_ids(self) -> Collection[str]:
        """Jobs that have a row."""
        return list(self._rows)

    def has_row(self, job_id: str) -> bool:
        return job_id in self._rows

    def load(self, job_ids: Iterable[str], revisions: Iterable[ConfigRevision]) -> None:
        """Take over the recorded revisions of `job_ids`, oldest first; the present rows come after them.

        Replicas that do not lead number the revisions that they see themselves. A new leader loads what its
        predecessor has recorded.
        """
        found: dict[str, list[ConfigRevision]] = {job_id: [] for job_id in job_ids}
        for revision in revisions:
            found.setdefault(revision.job_id, []).append(revision)
        self._revisions.update(found)
        self._unrecorded = {key: item for key, item in self._unrecorded.items() if key[0] not in found}
        for job_id, known in found.items():
            for number, revision in enumerate(known):
                is_newest = number == len(known) - 1
                if revision.error is None and not is_newest:
                    continue
                now = self._judged(revision)
                if revision.error is None:  # it was accepted once, and stays the one in force
                    now = replace(now, error=None)
                if now != revision and (now.error is None or is_newest):
                    known[number] = now
                    self._unrecorded[job_id, revision.revision] = now
        self.observe([self._rows[job_id] for job_id in found if job_id in self._rows])

    def observe(self, rows: Iterable[ConfigRow]) -> None:
        """Take over the present rows; a content that differs from the newest revision is a new revision."""
        for row in rows:
            self._rows[row.job_id] = row
            known = self._revisions.setdefault(row.job_id, [])
            if known and _holds(known[-1], row):
                self._reread(known, row)
                continue
            revision = ConfigRevision(
                job_id=row.job_id,
                revision=known[-1].revision + 1 if known else 1,
                content_hash=content_hash(*hashed_parts(row, row.secret_json)),
                schema_version=row.schema_version,
                config_json=row.config_json,
                secret_json=row.secret_json,
                effective_from=row.effective_from,
                row_version=row.version,
                author=row.updated_by,
                source=row.managed_by or "sql",
                error=None,
                warning=None,
                created_at=row.updated_at,
                secret_unreadable=row.secret_unreadable,
            )
            revision = self._judged(revision)
            known.append(revision)
            self._unrecorded[row.job_id, revision.revision] = revision

    def _reread(self, known: list[ConfigRevision], row: ConfigRow) -> None:
        """The row was edited without changing its content: record its new version."""
        if known[-1].row_version != row.version:
            known[-1] = same = replace(known[-1], row_version=row.version)
            self._unrecorded[row.job_id, same.revision] = same

    def drop(self, job_ids: Iterable[str]) -> None:
        """The rows of `job_ids` were deleted: their jobs run with their defaults."""
        for job_id in job_ids:
            self._rows.pop(job_id, None)

    def unrecorded(self) -> Sequence[ConfigRevision]:
        """Revisions that the leader has yet to record."""
        return list(self._unrecorded.values())

    def recorded(self, revisions: Iterable[ConfigRevision]) -> None:
        for revision in revisions:
            key = revision.job_id, revision.revision
            if self._unrecorded.get(key) == revision:
                del self._unrecorded[key]

    def in_force(
        self, definition: JobDefinition, now: datetime, *, overrides: str | None = None
    ) -> ConfigInForce:
        """The config of a run that starts now; `overrides` is a JSON object that goes before it.

        Raises `ConfigError` if the job's model has required fields and no valid config is in force, or if it
        refuses the one in force.
        """
        revisions = self._current(definition)
        newest = revision_in_force(revisions, now) if revisions else None
        if newest is None and (unreadable := _unreadable(definition, revisions, now)) is not None:
            raise ConfigError(unreadable)
        if newest is None:
            return _defaults(definition, revisions, overrides)
        return config_of(definition, newest, overrides=overrides)

    def revision_in_force(self, definition: JobDefinition, now: datetime) -> int | None:
        """The revision of a run that starts now; None: the defaults."""
        newest = revision_in_force(self._current(definition), now)
        return None if newest is None else newest.revision

    def secrets_of_jobs(self, job_ids: Collection[str]) -> frozenset[str]:
        """Texts that nothing may show that comes of runs of `job_ids`: whichever config such a run had."""
        found = set(self.secrets)
        for job_id in job_ids:
            definition = self._registry.get(job_id)
            if definition is None:
                continue
            last = self._revisions.get(job_id, [])[-_LAST_REVISIONS:]
            of, secrets = self._secrets_of.get(job_id, (None, frozenset()))
            if of != last:
                secrets = _secrets_of(definition, last)
                self._secrets_of[job_id] = last, secrets
            found |= secrets
        return frozenset(found)

    def missing(self, definition: JobDefinition, now: datetime) -> str | None:
        """What the job waits for; None if it does not.

        It waits if its model has required fields and no config is in force, and if the secret part of the one
        in force, or of the first one, cannot be read.
        """
        revisions = self._current(definition)
        if (unreadable := _unreadable(definition, revisions, now)) is not None:
            return unreadable
        if definition.schema is None or self._runs_by_defaults(definition):
            return None
        if revision_in_force(revisions, now) is not None:
            return None
        try:
            _defaults(definition, revisions)
        except ConfigError as error:
            return str(error)
        return None

    def refused(self) -> Collection[str]:
        """Jobs whose row holds a config that does not fit."""
        newest = ((job_id, self._revisions.get(job_id)) for job_id in self._rows)
        return [job_id for job_id, known in newest if known and known[-1].error is not None]

    def note(self, job_id: str) -> str | None:
        """What a person should know about the config in the job's row; None if nothing."""
        known = self._revisions.get(job_id) if job_id in self._rows else None
        if not known:
            return None
        newest = known[-1]
        if newest.error is None:
            return newest.warning and f"revision {newest.revision} of its config: {newest.warning}"
        before, definition = revision_in_force(known, newest.created_at), self._registry.get(job_id)
        instead = "the model's defaults hold"
        if before is not None:
            instead = f"revision {before.revision} stays in force"
        elif definition is not None and not self._runs_by_defaults(definition):
            instead = "the job waits for another"
        return f"revision {newest.revision} of its config was refused, {instead}: {newest.error}"

    def _runs_by_defaults(self, definition: JobDefinition) -> bool:
        if definition.job_id not in self._has_defaults:
            try:
                _defaults(definition, ())
            except ConfigError:
                self._has_defaults[definition.job_id] = False
            else:
                self._has_defaults[definition.job_id] = True
        return self._has_defaults[definition.job_id]

    def _current(self, definition: JobDefinition) -> Sequence[ConfigRevision]:
        """The revisions of the job, while it has a row."""
        return self._revisions.get(definition.job_id, []) if definition.job_id in self._rows else []

    def _judged(self, revision: ConfigRevision) -> ConfigRevision:
        """`revision` with the error and the warning of this replica's code."""
        definition = self._registry.get(revision.job_id)
        if definition is None:
            near = did_you_mean(revision.job_id, [job.job_id for job in self._registry])
            unknown = f"no replica has registered the job {revision.job_id!r}{near}"
            return replace(revision, error=_refusal(None, revision), warning=unknown)
        schema, config, secret = definition.schema, revision.config_json, revision.secret_json
        error = _refusal(schema, revision)
        warning = None if error else config_warning(schema, config, secret)
        return replace(revision, error=error, warning=warning)


def _secrets_of(definition: JobDefinition, revisions: Sequence[ConfigRevision]) -> frozenset[str]:
    """The secrets of the job's defaults, and of these revisions."""
    found: set[str] = set()
    for revision in (None, *revisions):
        with suppress(ConfigError):  # no run has had one that the model refuses
            found |= config_of(definition, revision).secrets
    return frozenset(found)


def _holds(revision: ConfigRevision, row: ConfigRow) -> bool:
    """Whether the content of `row` is that of `revision`, however either is stored."""
    return revision.secret_blanked_at is None and _content(revision) == _content(row)


def _content(item: ConfigRevision | ConfigRow) -> tuple[object, ...]:
    return item.schema_version, item.config_json, item.secret_json, item.effective_from


def _unreadable(definition: JobDefinition, revisions: Sequence[ConfigRevision], now: datetime) -> str | None:
    """Why the config of a job cannot be read, if that leaves it none: defaults are not what it was given."""
    if not any(item.secret_unreadable for item in revisions):
        return None
    found = revision_in_force(revisions, now) or revisions[-1]
    if found.secret_unreadable is None:
        return None
    return (
        f"job {definition.job_id!r} waits for its config: revision {found.revision} cannot be read: "
        f"{found.secret_unreadable}"
    )


def _refusal(schema: type[BaseModel] | None, revision: ConfigRevision) -> str | None:
    if revision.secret_unreadable is not None:
        return revision.secret_unreadable
    try:
        typed_config(schema, revision.config_json, revision.secret_json)
    except ConfigError as error:
        return str(error)
    return None


def config_of(
    definition: JobDefinition, revision: ConfigRevision | None, *, overrides: str | None = None
) -> ConfigInForce:
    """The config of a run with `revision`; None: the job's defaults. `overrides` go before either.

    Raises `ConfigError` if the job's model refuses it, or has no defaults.
    """
    if revision is None:
        return _defaults(definition, (), overrides)
    if revision.secret_unreadable is not None:
        raise ConfigError(
            f"job {definition.job_id!r}: revision {revision.revision} of its config cannot be read: "
            f"{revision.secret_unreadable}"
        )
    try:
        value = typed_config(definition.schema, revision.config_json, revision.secret_json, overrides)
    except ConfigError as error:
        if overrides is not None:
            raise ConfigError(
                f"job {definition.job_id!r}: revision {revision.revision} of its config with the run's "
                f"config_overrides does not fit: {error}"
            ) from None
        raise ConfigError(
            f"job {definition.job_id!r}: revision {revision.revision} of its config is in force, but this "
            f"release refuses it: {error}; update the row in job_config"
        ) from None
    secret = revision.secret_json
    secrets = secrets_of(*([] if secret is None else [read_object(secret)])) | secrets_in(value)
    return ConfigInForce(revision=revision.revision, value=value, secrets=secrets)


def _defaults(
    definition: JobDefinition, revisions: Sequence[ConfigRevision], overrides: str | None = None
) -> ConfigInForce:
    schema = definition.schema
    if schema is None:  # nearly every run of such a job has no overrides either, and nothing to read
        value = {} if overrides is None else typed_config(None, "{}", None, overrides)
        return ConfigInForce(revision=None, value=value)
    try:
        value = typed_config(schema, "{}", None, overrides)
        return ConfigInForce(revision=None, value=value, secrets=secrets_in(value))
    except ConfigError as error:
        waits = f"job {definition.job_id!r} waits for a config: no job_config is in force"
        message = f"{waits}, and without one {error}"
        coming = [
            item.effective_from for item in revisions[-1:] if item.error is None and item.effective_from
        ]
        refused = [item.error for item in revisions if item.error is not None]
        if coming:
            message += f"; the row takes effect at {coming[0].isoformat()}"
        elif refused:
            message += f"; the newest row was refused: {refused[-1]}"
        raise ConfigError(message) from None
