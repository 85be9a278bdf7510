from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator, model_validator

from piko.catalog.configs import ConfigBook, ConfigInForce
from piko.catalog.typed_config import typed_config
from piko.core.registry import JobDefinition
from piko.errors import ConfigError
from piko.model.configs import ConfigRevision, ConfigRow
from tests.poisons import POISONS, Poison
from tests.scheduler.making import NOON, at, definition, registry

SECRET = "hunter2"


class Sweep(BaseModel):
    concurrency: int = 50
    token: str = Field("", max_length=20)


class Strict(BaseModel):
    url: str
    limit: int = 1


class Newer(BaseModel):
    concurrency: str


class Grumpy(BaseModel):
    token: str = ""
    size: int = 0

    @field_validator("token")
    @classmethod
    def _refuse(cls, value: str) -> str:
        if value:
            raise ValueError(f"{value} is too well known")
        return value

    @field_validator("size")
    @classmethod
    def _fail(cls, value: int) -> int:
        return {0: 0}[value]

    @model_validator(mode="after")
    def _look(self) -> Grumpy:
        return self


def config(content: Any = None, *, secret: Any = None, when: datetime = NOON, **columns: Any) -> ConfigRow:
    values: dict[str, Any] = {
        "job_id": "job",
        "schema_version": 1,
        "config_json": content if isinstance(content, str) else json.dumps(content or {}),
        "secret_json": secret if secret is None or isinstance(secret, str) else json.dumps(secret),
        "effective_from": None,
        "version": 1,
        "updated_by": None,
        "managed_by": None,
        "updated_at": when,
        **columns,
    }
    return ConfigRow(**values)


class Configured:
    """A book, its job, and what the leader has recorded."""

    def __init__(
        self, schema: type[BaseModel] | None = Sweep, recorded: list[ConfigRevision] | None = None
    ) -> None:
        self.definition: JobDefinition = definition(schema=schema)
        self.book = ConfigBook(registry=registry(self.definition))
        self.database = recorded if recorded is not None else []

    def write(self, row: ConfigRow) -> None:
        """Somebody edits the row, the reconciler sees it, the leader records it."""
        self.book.observe([row])
        self.record()

    def record(self) -> None:
        revisions = self.book.unrecorded()
        known = {(item.job_id, item.revision): item for item in self.database}
        self.database = list({**known, **{(item.job_id, item.revision): item for item in revisions}}.values())
        self.book.recorded(revisions)
        assert not self.book.unrecorded()

    def restarted(self, row: ConfigRow, schema: type[BaseModel] | None = Sweep) -> Configured:
        """Another replica, perhaps of another release, that finds what is recorded and `row`."""
        other = Configured(schema, self.database)
        other.book.load(["job"], self.database)
        other.write(row)
        return other

    def at(self, moment: datetime) -> ConfigInForce:
        return self.book.in_force(self.definition, moment)

    def value(self, moment: datetime) -> Any:
        found = self.at(moment).value
        return found.concurrency if isinstance(found, Sweep) else found


def test_without_a_row_the_defaults_of_the_model_hold() -> None:
    job = Configured()
    assert job.at(NOON) == ConfigInForce(revision=None, value=Sweep())
    assert Configured(None).at(NOON) == ConfigInForce(revision=None, value={})


def test_a_row_is_typed_by_the_model_and_named_by_its_revision() -> None:
    job = Configured()
    job.write(config({"concurrency": 7}))
    assert job.at(NOON) == ConfigInForce(revision=1, value=Sweep(concurrency=7))


def test_without_a_model_the_config_is_a_fresh_dict_for_each_run() -> None:
    job = Configured(None)
    job.write(config({"a": [1]}, secret={"b": 2}))
    job.at(NOON).value["a"].append(9)
    assert job.at(NOON).value == {"a": [1], "b": 2}


def test_what_a_job_hands_over_shows_no_secret_of_the_configs_that_it_had() -> None:
    own, job = "of-the-program", definition(schema=Sweep)
    book = ConfigBook(registry=registry(job), secrets=frozenset({own}))
    assert book.secrets_of_jobs({"job", "unknown"}) == {own}
    book.observe([config({"concurrency": 1}, secret={"token": "first-token"})])
    book.observe([config({"concurrency": 2}, secret={"token": "second-token"})])
    book.observe([config({"concurrency": 3}, secret={"token": "refused, for it is much too long"})])
    assert book.secrets_of_jobs({"job"}) == {own, "first-token", "second-token"}
    assert book.secrets_of_jobs({"unknown"}) == {own}


def test_secrets_are_looked_for_once_while_no_config_changes() -> None:
    validated: list[object] = []

    class Counting(Sweep):
        @model_validator(mode="after")
        def note(self) -> Counting:
            validated.append(self.token)
            return self

    book = ConfigBook(registry=registry(definition(schema=Counting)))
    book.observe([config({"concurrency": 1}, secret={"token": "first-token"})])
    first = book.secrets_of_jobs({"job"})
    found = len(validated)
    assert [book.secrets_of_jobs({"job"}) for _ in range(3)] == [first] * 3
    assert len(validated) == found, "a sink that refuses many batches asks each time"
    book.observe([config({"concurrency": 2}, secret={"token": "second-token"})])
    assert book.secrets_of_jobs({"job"}) == {"first-token", "second-token"}


def test_secrets_are_merged_over_the_config() -> None:
    job = Configured()
    job.write(config({"concurrency": 7, "token": "shown"}, secret={"token": SECRET}))
    assert job.at(NOON).value == Sweep(concurrency=7, token=SECRET)


# ---- secret parts that cannot be read ------------------------------------------------------------------

SEALED = '{"$encrypted":"v1:01234567:x"}'
WHY = "its secret part is encrypted with a key that is not here"


@pytest.mark.parametrize("schema", [None, Sweep, Strict])
def test_a_job_whose_first_config_cannot_be_read_waits_and_does_not_run_with_defaults(
    schema: type[BaseModel] | None,
) -> None:
    job = Configured(schema)
    job.write(config({"url": "u"}, secret=SEALED, secret_unreadable=WHY))
    assert WHY in str(job.book.missing(job.definition, NOON))
    with pytest.raises(ConfigError, match=WHY):
        job.at(NOON)


def test_a_job_waits_where_the_key_of_the_config_in_force_is_missing_and_goes_on_once_it_is_there() -> None:
    job = Configured()
    job.write(config({"concurrency": 7}, secret={"token": "x"}))
    unread = [replace(item, secret_json=SEALED, secret_unreadable=WHY) for item in job.database]
    without = Configured(recorded=unread)
    without.book.load(["job"], unread)
    without.write(config({"concurrency": 7}, secret=SEALED, secret_unreadable=WHY))
    assert WHY in str(without.book.missing(without.definition, NOON))
    with pytest.raises(ConfigError, match=WHY):
        without.at(NOON)
    (revision,) = without.database
    assert revision.error is None, "what is in force stays so"
    again = job.restarted(config({"concurrency": 7}, secret={"token": "x"}))
    assert again.book.missing(again.definition, NOON) is None
    assert again.at(NOON) == job.at(NOON)


def test_an_edit_that_cannot_be_read_leaves_the_config_in_force_until_its_key_is_there() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}))
    job.write(config({"concurrency": 2}, secret=SEALED, secret_unreadable=WHY))
    assert job.book.missing(job.definition, NOON) is None
    assert job.at(NOON).revision == 1
    assert WHY in str(job.book.note("job"))
    read = [replace(item, secret_json="{}", secret_unreadable=None) for item in job.database]
    with_key = Configured(recorded=read)
    with_key.book.load(["job"], read)
    with_key.write(config({"concurrency": 2}, secret={}))
    assert with_key.at(NOON) == ConfigInForce(revision=2, value=Sweep(concurrency=2))


def test_a_secret_part_that_was_only_encrypted_is_no_revision() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}, secret={"token": "x"}))
    stored = [replace(item, content_hash="of what is encrypted") for item in job.database]
    again = Configured(recorded=stored)
    again.book.load(["job"], stored)
    again.write(config({"concurrency": 1}, secret={"token": "x"}, when=at("13:00:00")))
    assert len(again.database) == 1


# ---- revisions --------------------------------------------------------------------------------------


def test_every_content_is_a_revision_and_a_return_to_an_older_one_is_a_new_one() -> None:
    job = Configured()
    for number, size in enumerate((1, 2, 1)):
        job.write(config({"concurrency": size}, updated_by=f"author {number}", version=number + 1))
    assert [item.revision for item in job.database] == [1, 2, 3]
    assert [item.author for item in job.database] == ["author 0", "author 1", "author 2"]
    assert [item.row_version for item in job.database] == [1, 2, 3]
    assert job.at(NOON) == ConfigInForce(revision=3, value=Sweep(concurrency=1))


@pytest.mark.parametrize(
    "change",
    [{"secret": {"token": "x"}}, {"effective_from": NOON}, {"schema_version": 2}],
    ids=["secret", "time", "form"],
)
def test_what_a_run_would_notice_makes_a_revision(change: dict[str, Any]) -> None:
    job = Configured()
    job.write(config({"concurrency": 1}))
    job.write(config({"concurrency": 1}, **change))
    assert len(job.database) == 2


def test_the_same_content_again_is_no_revision() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}))
    job.write(config({"concurrency": 1}, version=9, updated_by="eve", when=at("13:00:00")))
    assert [(item.revision, item.row_version) for item in job.database] == [(1, 9)]
    assert len(job.restarted(config({"concurrency": 1})).database) == 1


def test_the_source_of_a_revision_is_its_owner_or_sql() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}))
    job.write(config({"concurrency": 2}, managed_by="here/data/sync/uid"))
    assert [item.source for item in job.database] == ["sql", "here/data/sync/uid"]


# ---- the time from which it counts ------------------------------------------------------------------


def test_a_config_for_the_future_leaves_the_present_one_in_force_also_across_a_restart() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}))
    future = config({"concurrency": 2}, effective_from=at("13:00:00"), when=at("12:10:00"))
    job.write(future)
    for replica in (job, job.restarted(future)):
        assert replica.value(at("12:59:59")) == 1
        assert replica.at(at("13:00:00")) == ConfigInForce(revision=2, value=Sweep(concurrency=2))


def test_a_config_that_is_replaced_before_its_time_never_takes_effect() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}))
    job.write(config({"concurrency": 2}, effective_from=at("13:00:00"), when=at("12:10:00")))
    postponed = config({"concurrency": 2}, effective_from=at("15:00:00"), when=at("12:20:00"))
    job.write(postponed)
    for replica in (job, job.restarted(postponed)):
        assert [replica.value(at(f"{hour}:30:00")) for hour in (12, 13, 14, 15)] == [1, 1, 1, 2]


def test_a_config_that_has_taken_effect_stays_in_force_until_the_next_one_does() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}, effective_from=at("13:00:00")))
    job.write(config({"concurrency": 2}, effective_from=at("15:00:00"), when=at("13:30:00")))
    assert [job.value(at(f"{hour}:30:00")) for hour in (12, 13, 14, 15)] == [50, 1, 1, 2]


def test_before_the_first_config_the_defaults_hold_or_the_job_waits_and_says_until_when() -> None:
    job = Configured(Strict)
    job.write(config({"url": "x"}, effective_from=at("13:00:00")))
    with pytest.raises(ConfigError) as caught:
        job.at(NOON)
    for part in (
        "job 'job' waits for a config",
        "Strict",
        "url: Field required",
        "takes effect at 2026-03-02T13:00",
    ):
        assert part in str(caught.value)
    assert job.at(at("13:00:00")).value == Strict(url="x")


def test_a_content_whose_secret_was_blanked_is_a_new_revision_when_it_comes_back() -> None:
    job = Configured()
    row = config({"concurrency": 1}, secret={"token": SECRET})
    job.write(row)
    (first,) = job.database
    later = Configured(recorded=[replace(first, secret_json=None, secret_blanked_at=at("13:00:00"))])
    later.book.load(["job"], later.database)
    later.write(row)
    _, second = later.database
    assert (second.revision, second.secret_json) == (2, first.secret_json)
    assert (second.content_hash, second.secret_blanked_at) == (first.content_hash, None)


def test_a_deleted_row_means_the_defaults_and_a_new_one_counts_on() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}))
    job.book.drop(["job"])
    assert job.at(NOON) == ConfigInForce(revision=None, value=Sweep())
    job.write(config({"concurrency": 2}))
    assert job.at(NOON).revision == 2


# ---- what does not fit ------------------------------------------------------------------------------


def test_an_invalid_config_never_replaces_a_valid_one() -> None:
    job = Configured()
    job.write(config({"concurrency": 1}))
    bad = config({"concurrency": "many"})
    job.write(bad)
    assert job.at(NOON).revision == 1
    assert job.database[-1].error == (
        'the config does not fit Sweep: concurrency = "many": Input should be a valid integer, '
        "unable to parse string as an integer"
    )
    assert job.restarted(bad).at(NOON).revision == 1


def test_what_is_wrong_with_the_newest_config_is_noted_with_the_one_in_force() -> None:
    job = Configured()
    assert job.book.note("job") is None
    job.write(config({"concurrency": 1}))
    assert job.book.note("job") is None
    job.write(config({"concurrency": "many"}))
    note = job.book.note("job") or ""
    assert note.startswith("revision 2 of its config was refused, revision 1 stays in force: ")
    assert note.endswith(job.database[-1].error or "?")
    assert list(job.book.refused()) == ["job"]
    job.write(config({"concurrency": 3}))
    assert (job.book.note("job"), list(job.book.refused())) == (None, [])
    job.book.drop(["job"])
    assert job.book.note("job") is None


@pytest.mark.parametrize(
    ("schema", "instead"), [(Sweep, "the model's defaults hold"), (Strict, "the job waits for another")]
)
def test_a_first_config_that_is_refused_is_noted_with_what_holds_instead(
    schema: type[BaseModel], instead: str
) -> None:
    job = Configured(schema)
    job.write(config({"concurrency": "many", "limit": "x"}))
    assert f"revision 1 of its config was refused, {instead}: " in (job.book.note("job") or "")


def test_a_misspelt_key_is_a_warning_that_the_record_keeps() -> None:
    job = Configured()
    row = config({"concurency": 7})
    job.write(row)
    (revision,) = job.database
    assert revision.error is None
    assert revision.warning == "concurency: the model has no such key; did you mean `concurrency`?"
    assert job.book.note("job") == f"revision 1 of its config: {revision.warning}"
    assert job.at(NOON) == ConfigInForce(revision=1, value=Sweep())


def test_a_config_of_a_job_that_nobody_has_says_so_until_somebody_has_it() -> None:
    job = Configured()
    row = config({"concurrency": 7}, job_id="jobb")
    job.write(row)
    (revision,) = job.database
    assert revision.warning == "no replica has registered the job 'jobb'; did you mean `job`?"
    other = ConfigBook(registry=registry(definition("jobb", schema=Sweep)))
    other.load(["jobb"], job.database)
    other.observe([row])
    assert [item.warning for item in other.unrecorded()] == [None]


def test_a_first_config_that_is_invalid_is_reported_to_a_job_that_needs_one() -> None:
    job = Configured(Strict)
    job.write(config({"limit": "x", "url": "y"}))
    with pytest.raises(
        ConfigError, match=r'url: Field required; the newest row was refused: .*limit = "x": Input should'
    ):
        job.at(NOON)


@pytest.mark.parametrize("column", ["config_json", "secret_json"])
@pytest.mark.parametrize("poison", POISONS, ids=str)
def test_a_poison_in_a_row_is_a_refusal_of_its_revision(poison: Poison, column: str) -> None:
    texts = {"config_json": "{}", "secret_json": "{}", column: poison.text}
    with pytest.raises(ConfigError) as refusal:
        typed_config(None, texts["config_json"], texts["secret_json"])
    assert str(refusal.value).startswith(f"{column} ")
    assert poison.said in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nonsense", "config_json is not JSON: expecting value, line 1, column 1; expected an object"),
        ("[1]", "config_json is a JSON list; expected an object"),
        ("null", "config_json is a JSON null; expected an object"),
        ("[" * 100_000, "config_json nests deeper than 31 levels; make it flatter"),
    ],
    ids=["no JSON", "an array", "null", "a pit"],
)
def test_what_is_no_object_is_refused(text: str, expected: str) -> None:
    job = Configured(None)
    job.write(config(text))
    assert job.database[-1].error == expected
    assert job.at(NOON) == ConfigInForce(revision=None, value={})


def test_a_validator_that_fails_hurts_its_own_job_only() -> None:
    job = Configured(Grumpy)
    job.write(config({"size": 3}))
    assert job.database[-1].error is not None
    assert "a validator of Grumpy raised KeyError" in job.database[-1].error
    assert job.at(NOON).value == Grumpy()


# ---- releases ---------------------------------------------------------------------------------------


def test_a_config_that_came_before_its_code_takes_effect_with_the_release_that_accepts_it() -> None:
    old = Configured()
    old.write(config({"concurrency": "ten"}))
    assert old.at(NOON).revision is None
    new = old.restarted(config({"concurrency": "ten"}), Newer)
    assert new.at(NOON) == ConfigInForce(revision=1, value=Newer(concurrency="ten"))
    assert new.database[-1].error is None, "the record of the refusal is corrected"


def test_a_release_that_refuses_the_config_in_force_says_so_instead_of_falling_back() -> None:
    old = Configured()
    old.write(config({"concurrency": 1, "url": "test"}))
    old.write(config({"concurrency": 2}))
    new = old.restarted(config({"concurrency": 2}), Strict)
    with pytest.raises(ConfigError) as caught:
        new.at(NOON)
    for part in ("job 'job': revision 2", "this release refuses it", "url: Field required", "update the row"):
        assert part in str(caught.value)


def test_a_new_leader_counts_on_from_what_is_recorded_and_not_from_what_it_saw() -> None:
    leader, standby = Configured(), Configured()
    for size in (1, 2, 3):
        leader.write(config({"concurrency": size}))
    standby.book.observe([config({"concurrency": 3})])
    assert standby.at(NOON).revision == 1
    standby.book.load(standby.book.job_ids(), leader.database)
    assert standby.at(NOON).revision == 3
    assert not standby.book.unrecorded()
    standby.book.observe([config({"concurrency": 4})])
    assert [item.revision for item in standby.book.unrecorded()] == [4]


def test_a_revision_that_changes_while_it_is_recorded_is_recorded_again() -> None:
    job = Configured()
    job.book.observe([config({"concurrency": 1})])
    written = job.book.unrecorded()
    job.book.observe([config({"concurrency": 2})])
    job.book.recorded(written)
    assert [item.revision for item in job.book.unrecorded()] == [2]


# ---- secrets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "secret"),
    [
        (Sweep, {"token": f"{SECRET}, and far too long for it"}),
        (Sweep, {"concurrency": SECRET}),
        (Grumpy, {"token": SECRET}),
        (Sweep, f'{{"{SECRET}'),
    ],
    ids=["too long", "another type", "a text of the validator", "no JSON"],
)
def test_a_secret_that_is_refused_is_not_shown(schema: type[BaseModel], secret: Any) -> None:
    job = Configured(schema)
    job.write(config({}, secret=secret))
    (revision,) = job.database
    assert revision.error is not None
    assert SECRET not in revision.error
    assert SECRET not in repr(revision)


def test_no_text_of_a_config_holds_its_secrets() -> None:
    job = Configured()
    row = config({}, secret={"token": SECRET})
    job.write(row)
    in_force = job.at(NOON)
    assert in_force.value.token == SECRET
    assert all(SECRET not in repr(item) for item in (row, in_force, *job.database))


# ---- the law ----------------------------------------------------------------------------------------

minutes = st.integers(0, 100)


@given(
    edits=st.lists(
        st.tuples(minutes, st.booleans(), st.one_of(st.none(), minutes)),
        max_size=8,
        unique_by=lambda edit: edit[0],
    ),
    restart_after=st.integers(0, 8),
)
def test_the_config_in_force_is_that_of_somebody_who_watched_all_the_time(
    edits: list[tuple[int, bool, int | None]], restart_after: int
) -> None:
    """Each edit: when, whether it is valid, from when it counts."""
    job, row = Configured(), None
    in_force: dict[int, int] = {}
    held: tuple[int, int | None] | None = None  # the newest valid content of the row
    edits = sorted(edits, key=lambda edit: edit[0])
    present: int | None = None
    for minute in range(101):
        if held is not None and held[1] is not None and held[1] <= minute:
            present = held[0]
        for number, (when, valid, effective) in enumerate(edits, 1):
            if when == minute and valid:
                held = (number, effective)
                if effective is None or effective <= minute:
                    present = number
        in_force[minute] = 50 if present is None else 1000 + present
    for number, (when, valid, effective) in enumerate(edits, 1):
        row = config(
            {"concurrency": 1000 + number if valid else "x"},
            when=NOON + timedelta(minutes=when),
            effective_from=None if effective is None else NOON + timedelta(minutes=effective),
        )
        job.write(row)
        if number == restart_after:
            job = job.restarted(row)
    last = edits[-1][0] if edits else 0
    for minute in range(last, 101):
        assert job.value(NOON + timedelta(minutes=minute)) == in_force[minute]
