"""The exceptions that Piko raises on purpose: one tree, whose middle says who can do something about them.

Who catches an error wants to know one of five things, and each is a class between `PikoError` and the errors
themselves. `TransientError`: the surroundings are at fault, and the same call may work later. `InputError`: a
person has to change what was written or asked for. `SchemaError`: the tables have to be upgraded. `RunError`
and `ComputeError`: one run, or one computation, failed, and nothing else did. Beside them stands
`FencedError`: nobody can do anything about it here, for another replica leads.

A message here is read by a person who has to act: it says what went wrong, where, with which value,
what was expected, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ComputeError",
    "ConfigError",
    "DatabaseRefusedError",
    "DatabaseUnavailableError",
    "DeadlockError",
    "DiscoveryError",
    "FencedError",
    "HandlerGoesOnError",
    "InputError",
    "ItemError",
    "LeaseUnavailableError",
    "ManifestError",
    "MigrationError",
    "NotFoundError",
    "PayloadError",
    "PikoError",
    "ReadOnlyError",
    "RefusedError",
    "RegistrationError",
    "ResourceError",
    "RowsLockedError",
    "RunError",
    "ScheduleError",
    "SchemaError",
    "SchemaVersionError",
    "SessionLockError",
    "SettingsError",
    "SpoolError",
    "StaleError",
    "TransientError",
    "WorkerLostError",
]

_LIKENESS = 0.7
_LONGEST_WORD = 64


class PikoError(Exception):
    """Base of every error that Piko raises on purpose."""


# ---- the surroundings -----------------------------------------------------------------------------


class TransientError(PikoError):
    """Something that Piko depends on does not work now; the same call may work later."""


class DatabaseUnavailableError(TransientError):
    """The database cannot be reached now."""


class DatabaseRefusedError(DatabaseUnavailableError):
    """The server does not let this user do what is needed; it works once that is put right there."""


class DeadlockError(DatabaseUnavailableError):
    """Two transactions waited for each other, and the database has undone this one."""


class ReadOnlyError(DatabaseUnavailableError):
    """The server takes no writes now: a failover, or maintenance."""


class RowsLockedError(DatabaseUnavailableError):
    """Others hold rows that this transaction needs; nothing of it was written.

    `jobs`: whose rows they are, where that is known.
    """

    def __init__(self, message: str, *, jobs: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.jobs = jobs


class LeaseUnavailableError(TransientError):
    """The lease cannot be read or written now, where it is not the database that keeps it."""


class SessionLockError(TransientError):
    """The database server does not keep a lock for a session of this replica."""


class SpoolError(TransientError):
    """The spool on disk cannot be used now."""


# ---- what a person wrote or asked for -------------------------------------------------------------


class InputError(PikoError):
    """What a person wrote or asked for cannot be used; the same call fails until that is changed."""


class ConfigError(InputError):
    """A job's configuration does not fit the job's model."""


class DiscoveryError(InputError):
    """A module that `autodiscover` should import failed to import."""


class ManifestError(InputError):
    """A resource file is not what the custom resource definitions accept."""


class PayloadError(InputError):
    """A payload that its sink cannot write, or that could not be kept on disk."""


class RefusedError(InputError):
    """What was asked for cannot be done as things are; nothing was changed."""


class NotFoundError(RefusedError):
    """What was named is not there."""


class RegistrationError(InputError):
    """A job was declared in a way that cannot run."""


class StaleError(RefusedError):
    """What was to be changed is not as the caller saw it; nothing was changed."""


class ScheduleError(InputError):
    """A schedule expression, zone or bound that cannot be used."""


class SettingsError(InputError):
    """A setting is missing, unknown or malformed."""


# ---- the tables -----------------------------------------------------------------------------------


class SchemaError(PikoError):
    """The tables in the database do not fit this release."""


class MigrationError(SchemaError):
    """A change of the tables could not be made; what was done stays, and the same call goes on from there."""


class SchemaVersionError(SchemaError):
    """The tables in the database are older or newer than this code needs."""


# ---- one run, one computation ---------------------------------------------------------------------


class RunError(PikoError):
    """Something failed that belongs to one run; whether it is tried again, its attempts decide."""


class HandlerGoesOnError(RunError):
    """A handler was cancelled and did not end; its run has."""


class ResourceError(RunError):
    """A resource could not be acquired for a run."""


class ComputeError(PikoError):
    """A computation could not be handed to a worker process, or the workers could not be had."""


class ItemError(ComputeError):
    """The cause of an exception that one item of `map_reduce` raised: which item, and the worker's traceback.

    The exception itself arrives as the function raised it; this is its `__cause__`.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class WorkerLostError(ComputeError):
    """The process that ran a computation died under it, twice: it was killed, ran out of memory, or crashed.

    `index` is the item's place among the items of `map_reduce`; None for `submit`.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


# ---- leadership -----------------------------------------------------------------------------------


class FencedError(PikoError):
    """A write was refused because leadership has moved on to a newer epoch."""


def did_you_mean(given: str, known: Iterable[str], *, prefix: str = "") -> str:
    """For the end of a message: ``; did you mean `this`?``, or nothing where no known name is near.

    `prefix` is what all names begin with; it is no likeness.
    """
    word = given.removeprefix(prefix)[:_LONGEST_WORD]
    words = sorted(name.removeprefix(prefix) for name in known)
    begun = [name for name in words if len(word) > 1 and name.startswith(word)]
    near = begun or get_close_matches(word, words, n=1, cutoff=_LIKENESS)
    return f"; did you mean `{prefix}{near[0]}`?" if near else ""
