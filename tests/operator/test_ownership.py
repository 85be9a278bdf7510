"""Who a row belongs to, and what is done with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from piko.model.managed import Held, ManagedConfig, Verb
from piko_operator.ownership import Decision, decide, release

_MINE, _OTHER = "c/ns/name/1", "c/ns/other/2"
_MINE_BEFORE = "c/ns/name/0"
_WANTED = ManagedConfig(
    job_id="a",
    schema_version=1,
    config_json="{}",
    secret_json=None,
    effective_from=None,
    updated_by="piko-operator",
    managed_by=_MINE,
)
_EDITED = replace(_WANTED, schema_version=2)


def _decide(
    held: ManagedConfig | None,
    *,
    adoption: str = "Refuse",
    drift: str = "Enforce",
    settled: bool = False,
    vacated: str | None = None,
) -> Decision[ManagedConfig]:
    row = None if held is None else Held(row=held, version=1)
    return decide(
        wanted=_WANTED,
        held=row,
        table="job_config",
        adoption_policy=adoption,
        drift_policy=drift,
        settled=settled,
        vacated=vacated,
    )


@pytest.mark.parametrize("adoption", ["Refuse", "Adopt"])
@pytest.mark.parametrize("drift", ["Enforce", "Observe"])
@pytest.mark.parametrize("settled", [False, True])
def test_the_row_of_another_resource_is_never_written(adoption: str, drift: str, settled: bool) -> None:
    held = replace(_EDITED, managed_by=_OTHER)
    decision = _decide(held, adoption=adoption, drift=drift, settled=settled)
    assert decision.change is None
    assert (decision.synced.status, decision.synced.reason) == ("False", "Conflict")
    assert _OTHER in decision.synced.message


@pytest.mark.parametrize(
    ("held", "policies", "verb", "reason", "notice"),
    [
        (None, {}, Verb.CREATE, "Synced", None),
        (None, {"settled": True}, Verb.CREATE, "Synced", "DriftCorrected"),
        (None, {"settled": True, "drift": "Observe"}, None, "Drifted", None),
        (_WANTED, {"settled": True}, None, "Synced", None),
        (_EDITED, {}, Verb.REPLACE, "Synced", None),
        (_EDITED, {"settled": True}, Verb.REPLACE, "Synced", "DriftCorrected"),
        (_EDITED, {"settled": True, "drift": "Observe"}, None, "Drifted", None),
        (_EDITED, {"drift": "Observe"}, Verb.REPLACE, "Synced", None),
        (replace(_WANTED, managed_by=_MINE_BEFORE), {"settled": True}, Verb.REPLACE, "Synced", None),
        (replace(_EDITED, managed_by=_MINE_BEFORE), {"drift": "Observe"}, Verb.REPLACE, "Synced", None),
        (
            replace(_EDITED, managed_by=_MINE_BEFORE),
            {"drift": "Observe", "settled": True},
            Verb.REPLACE,
            "Synced",
            None,
        ),
        (replace(_EDITED, managed_by=_OTHER), {"vacated": _OTHER}, Verb.REPLACE, "Synced", "HandedOver"),
        (replace(_EDITED, managed_by=_OTHER), {"vacated": "c/ns/third/3"}, None, "Conflict", None),
        (replace(_EDITED, managed_by=None), {}, None, "RowNotManaged", None),
        (replace(_EDITED, managed_by=None), {"adoption": "Adopt"}, Verb.REPLACE, "Synced", "Adopted"),
    ],
)
def test_the_table_of_ownership_holds(
    held: ManagedConfig | None,
    policies: dict[str, object],
    verb: Verb | None,
    reason: str,
    notice: str | None,
) -> None:
    decision = _decide(held, **policies)  # type: ignore[arg-type]
    assert (decision.change.verb if decision.change else None) == verb
    assert decision.synced.reason == reason
    assert (decision.notice.reason if decision.notice else None) == notice


def test_a_changed_secret_is_written_without_a_word_of_it() -> None:
    decision = _decide(replace(_WANTED, secret_json='{"password":"hunter2"}'), settled=True)
    assert decision.change is not None
    assert decision.notice is None
    adopted = _decide(
        replace(_WANTED, secret_json='{"password":"hunter2"}', managed_by=None), adoption="Adopt"
    )
    assert adopted.notice is not None
    assert "hunter2" not in adopted.notice.message


@pytest.mark.parametrize("drift", ["Enforce", "Observe"])
def test_what_a_config_holds_is_shown_to_nobody(drift: str) -> None:
    held = replace(_WANTED, config_json='{"dsn":"hunter2"}', schema_version=7)
    decision = _decide(held, settled=True, drift=drift)
    adopted = _decide(replace(held, managed_by=None, secret_json='{"p":"hunter2"}'), adoption="Adopt")
    notices = [item.message for item in (decision.notice, adopted.notice) if item is not None]
    said = [decision.synced.message, decision.drifted.message, *notices]
    assert "hunter2" not in " ".join(said)
    assert any("config_json" in text and "schema_version" in text for text in said)
    assert adopted.notice is not None
    assert "config_json (not shown), secret_json (not shown)" in adopted.notice.message


@pytest.mark.parametrize(
    ("policy", "verb"),
    [
        ("Delete", Verb.DELETE),
        ("Forget", Verb.FORGET),
        ("Disable", Verb.DISABLE),
        ("Retain", Verb.HAND_BACK),
    ],
)
@pytest.mark.parametrize("owner", [_MINE, _MINE_BEFORE])
def test_deletion_does_what_its_policy_says_with_its_own_row(policy: str, verb: Verb, owner: str) -> None:
    held = Held(row=replace(_WANTED, managed_by=owner), version=1)
    change = release(owner=_MINE, job_id="a", held=held, deletion_policy=policy)
    assert change is not None
    assert change.verb is verb


@pytest.mark.parametrize("owner", [None, _OTHER])
def test_deletion_touches_no_row_of_anyone_else(owner: str | None) -> None:
    held = Held(row=replace(_WANTED, managed_by=owner), version=1)
    assert release(owner=_MINE, job_id="a", held=held, deletion_policy="Delete") is None
    assert release(owner=_MINE, job_id="a", held=None, deletion_policy="Delete") is None


@pytest.mark.parametrize("drift", ["Enforce", "Observe"])
@pytest.mark.parametrize("settled", [False, True])
def test_a_secret_part_without_its_key_is_left_as_it_is(drift: str, settled: bool) -> None:
    wanted = replace(_WANTED, secret_json='{"password":"hunter2"}')
    held = Held(
        row=replace(_EDITED, secret_json='{"$encrypted":"v1:0:x"}'),
        version=1,
        secret_unreadable="no key here",
    )
    policies = {"adoption_policy": "Refuse", "drift_policy": drift}
    decision = decide(wanted=wanted, held=held, table="job_config", settled=settled, **policies)
    assert decision.change is None
    assert (decision.synced.status, decision.synced.reason) == ("False", "SecretUnreadable")
    assert "no key here, or set it to NULL" in decision.synced.message
    assert "hunter2" not in decision.synced.message
    without = decide(wanted=_WANTED, held=held, table="job_config", settled=False, **policies)
    assert without.change is not None, "what has no secret part any more needs no key"
