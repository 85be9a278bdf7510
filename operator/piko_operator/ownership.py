"""Who owns a row, and what is therefore done with it: the rules of the mirror, without I/O.

| the row | what happens |
|---|---|
| does not exist | it is created and owned |
| belongs to SQL | `Refuse`: nothing is written · `Adopt`: taken over, with the old values in an event |
| belongs to another resource | nothing is written; the first keeps it, and hands it over when it is deleted |
| is ours, and the resource has changed | it is written |
| is ours, and only the row has changed | `Enforce`: restored, with an event · `Observe`: left as it is |
| is ours, and its secret part is encrypted with a key that is not here | nothing is written |

The owner is identified by cluster, namespace and name; the uid that follows is for people. A resource that
returns under another uid (from a backup, in a rebuilt cluster) is the same owner. "The resource has not
changed" means that this generation of it was written before.

Events and conditions are read by people who may not read configs. They name the columns of configs that
differ, and never show their values.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Generic

from piko.model.managed import Change, Held, R, Verb

_RELEASE = {"Forget": Verb.FORGET, "Disable": Verb.DISABLE, "Retain": Verb.HAND_BACK}
_CONFIDENTIAL = "secret_json"
_NOT_SHOWN = ("config_json", _CONFIDENTIAL)
"""Columns whose values are never shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a resource; `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One Kubernetes event."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[R]):
    """What to write, if anything, and what to report once it is written."""

    synced: Condition
    drifted: Condition
    change: Change[R] | None = None
    notice: Notice | None = None
    corrects_drift: bool = False


def synced(status: str, reason: str, message: str) -> Condition:
    return Condition(type="Synced", status=status, reason=reason, message=message)


IN_STEP = Condition(
    type="Drifted", status="False", reason="InStep", message="only the operator has changed the row"
)
UNKNOWN_DRIFT = Condition(
    type="Drifted", status="Unknown", reason="NotSynced", message="see the condition Synced"
)


def is_same_owner(owner: str | None, other: str | None) -> bool:
    """Whether both are the same resource; NULL (SQL) is never the same."""
    return owner is not None and other is not None and owner.rpartition("/")[0] == other.rpartition("/")[0]


def decide(
    *,
    wanted: R,
    held: Held[R] | None,
    table: str,
    adoption_policy: str,
    drift_policy: str,
    settled: bool,
    vacated: str | None = None,
) -> Decision[R]:
    """The decision on one resource.

    - `wanted`: the row that the resource declares.
    - `held`: the row as it was read, if there is one.
    - `table`: the table's name, for messages.
    - `adoption_policy`, `drift_policy`: those of the resource.
    - `settled`: whether this generation of the resource was written before.
    - `vacated`: the row's owner, if it is known to be deleted.
    """
    where = f"the row of job {wanted.job_id!r} in {table}"
    in_step = synced("True", "Synced", f"{where} matches the resource")
    if held is None:
        return _missing(wanted, where, in_step, enforce=drift_policy == "Enforce", settled=settled)
    owner = held.row.managed_by
    replace = Change(verb=Verb.REPLACE, job_id=wanted.job_id, row=wanted, seen=held)
    if owner is None and adoption_policy == "Adopt":
        message = f"{where} belonged to SQL and was taken over; it was {_describe(held.row)}"
        return Decision(
            synced=in_step,
            drifted=IN_STEP,
            change=replace,
            notice=Notice(type="Normal", reason="Adopted", message=message),
        )
    if owner is None:
        message = (
            f"{where} belongs to SQL (its managed_by is NULL), nothing was written; "
            "set spec.adoptionPolicy to Adopt to take it over, or delete the row"
        )
        return Decision(synced=synced("False", "RowNotManaged", message), drifted=UNKNOWN_DRIFT)
    if not is_same_owner(owner, wanted.managed_by):
        if is_same_owner(owner, vacated):
            message = f"{where} belonged to {owner}, which was deleted, and was handed over unchanged"
            return Decision(
                synced=in_step,
                drifted=IN_STEP,
                change=replace,
                notice=Notice(type="Normal", reason="HandedOver", message=message),
            )
        message = (
            f"{where} belongs to {owner}, nothing was written; "
            "delete one of the two resources, or give one another jobId"
        )
        return Decision(synced=synced("False", "Conflict", message), drifted=UNKNOWN_DRIFT)
    if held.secret_unreadable is not None and getattr(wanted, _CONFIDENTIAL, None) is not None:
        # It may be the same, and the replicas may have the key: one written with another would stop jobs.
        message = (
            f"{where} cannot be compared, nothing was written: {held.secret_unreadable}, or set it to NULL, "
            "and the operator writes it again"
        )
        return Decision(synced=synced("False", "SecretUnreadable", message), drifted=UNKNOWN_DRIFT)
    changes = differences(old=held.row, new=wanted)
    if not changes:
        return Decision(synced=in_step, drifted=IN_STEP)
    # A Secret may change while the resource does not. That is not drift, and its content is never shown.
    edited = [item for item in changes if item[0] not in (_CONFIDENTIAL, "managed_by")]
    came_back = owner != wanted.managed_by
    if not settled or came_back or not edited:
        return Decision(synced=in_step, drifted=IN_STEP, change=replace)
    if drift_policy == "Enforce":
        edits = ", ".join(_put_back(*item) for item in edited)
        notice = Notice(
            type="Warning", reason="DriftCorrected", message=f"{where} was edited; restored {edits}"
        )
        return Decision(synced=in_step, drifted=IN_STEP, change=replace, notice=notice, corrects_drift=True)
    edits = ", ".join(_is_instead(*item) for item in edited)
    return _observed(f"{where} was edited: {edits}; it is left as it is until the resource changes")


def release(*, owner: str, job_id: str, held: Held[R] | None, deletion_policy: str) -> Change[R] | None:
    """The change to the row of a deleted resource; None unless the resource owns the row."""
    if held is None or not is_same_owner(held.row.managed_by, owner):
        return None
    verb = _RELEASE.get(deletion_policy, Verb.DELETE)
    return Change(verb=verb, job_id=job_id, seen=held)


def differences(*, old: R, new: R) -> list[tuple[str, Any, Any]]:
    """The columns that differ, with old and new value."""
    pairs = ((item.name, getattr(old, item.name), getattr(new, item.name)) for item in fields(new))
    return [(name, before, after) for name, before, after in pairs if before != after]


def _missing(wanted: R, where: str, in_step: Condition, *, enforce: bool, settled: bool) -> Decision[R]:
    if settled and not enforce:
        return _observed(f"{where} was deleted; it is not created again until the resource changes")
    create = Change(verb=Verb.CREATE, job_id=wanted.job_id, row=wanted)
    if not settled:
        return Decision(synced=in_step, drifted=IN_STEP, change=create)
    notice = Notice(
        type="Warning", reason="DriftCorrected", message=f"{where} was deleted; it was created again"
    )
    return Decision(synced=in_step, drifted=IN_STEP, change=create, notice=notice, corrects_drift=True)


def _observed(message: str) -> Decision[R]:
    return Decision(
        synced=synced("False", "Drifted", message),
        drifted=Condition(type="Drifted", status="True", reason="RowEdited", message=message),
    )


def _put_back(name: str, old: object, new: object) -> str:
    return name if name in _NOT_SHOWN else f"{name} from {old!r} to {new!r}"


def _is_instead(name: str, old: object, new: object) -> str:
    return f"{name} differs" if name in _NOT_SHOWN else f"{name} is {old!r} instead of {new!r}"


def _describe(row: R) -> str:
    values = ((item.name, getattr(row, item.name)) for item in fields(row) if item.name != "job_id")
    return ", ".join(
        f"{name} (not shown)" if name in _NOT_SHOWN else f"{name}={value!r}"
        for name, value in values
        if value is not None
    )
