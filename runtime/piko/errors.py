"""The one exception hierarchy.

A message here is read by a person who has to act: it says what went wrong, where, with which value,
what was expected, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LIKENESS = 0.7
_LONGEST_WORD = 64


class PikoError(Exception):
    """Base of every error that Piko raises on purpose."""


class SettingsError(PikoError):
    """A setting is missing, unknown or malformed."""


class RegistrationError(PikoError):
    """A job was declared in a way that cannot run."""


class DiscoveryError(PikoError):
    """A module that `autodiscover` should import failed to import."""


class ScheduleError(PikoError):
    """A schedule expression, zone or bound that cannot be used."""


class ConfigError(PikoError):
    """A job's configuration does not fit the job's model."""


class ResourceError(PikoError):
    """A resource could not be acquired for a run."""


class ManifestError(PikoError):
    """A resource file is not what the custom resource definitions accept."""


class DatabaseUnavailableError(PikoError):
    """The database cannot be reached now; the same call may work later."""


class DatabaseRefusedError(DatabaseUnavailableError):
    """The server does not let this user do what is needed; it works once that is put right there."""


class ReadOnlyError(DatabaseUnavailableError):
    """The server takes no writes now: a failover, or maintenance."""


class RowsLockedError(DatabaseUnavailableError):
    """Others hold rows that this transaction needs; nothing of it was written.

    `jobs`: whose rows they are, where that is known.
    """

    def __init__(self, message: str, *, jobs: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.jobs = jobs


class LeaseUnavailableError(PikoError):
    """The lease cannot be read or written now, where it is not the database that keeps it."""


class SchemaVersionError(PikoError):
    """The tables in the database are older or newer than this code needs."""


class MigrationError(PikoError):
    """A change of the tables could not be made; what was done stays, and the same call goes on from there."""


class RefusedError(PikoError):
    """What was asked for cannot be done as things are; nothing was changed."""


class DeadlockError(DatabaseUnavailableError):
    """Two transactions waited for each other, and the database has undone this one."""


class FencedError(PikoError):
    """A write was refused because leadership has moved on to a newer epoch."""


class HandlerGoesOnError(PikoError):
    """A handler was cancelled and did not end; its run has."""


class ComputeError(PikoError):
    """A computation could not be handed to a worker process, or the workers could not be had."""


class WorkerLostError(ComputeError):
    """The process that ran a computation died under it, twice: it was killed, ran out of memory, or crashed.

    `index` is the item's place among the items of `map_reduce`; None for `submit`.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class ItemError(PikoError):
    """The cause of an exception that one item of `map_reduce` raised: which item, and the worker's traceback.

    The exception itself arrives as the function raised it; this is its `__cause__`.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class PayloadError(PikoError):
    """A payload that its sink cannot write, or that could not be kept on disk."""


class SpoolError(PikoError):
    """The spool on disk cannot be used now."""


def did_you_mean(given: str, known: Iterable[str], *, prefix: str = "") -> str:
    """For the end of a message: ``; did you mean `this`?``, or nothing where no known name is near.

    `prefix` is what all names begin with; it is no likeness.
    """
    word = given.removeprefix(prefix)[:_LONGEST_WORD]
    words = sorted(name.removeprefix(prefix) for name in known)
    begun = [name for name in words if len(word) > 1 and name.startswith(word)]
    near = begun or get_close_matches(word, words, n=1, cutoff=_LIKENESS)
    return f"; did you mean `{prefix}{near[0]}`?" if near else ""
