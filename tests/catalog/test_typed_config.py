"""What is said of a config that does not fit: the field, its value, what was expected; and no secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretStr,
    create_model,
    field_validator,
    model_validator,
)

from piko.catalog.typed_config import config_warning, typed_config
from piko.errors import ConfigError
from piko.text import LIMIT

SECRET = "hunter2-and-more"


class Target(BaseModel):
    table: str = "t"
    batch: int = Field(10, le=100)


class Sweep(BaseModel):
    concurrency: int = Field(10, le=100)
    targets: list[Target] = []
    by_name: dict[str, Target] = {}
    main: Target | None = None
    either: Target | int = 1
    url: str = Field("", validation_alias=AliasChoices("url", "address"))


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    concurrency: int = 10
    target: Target = Target()


class Login(BaseModel):
    user: str = Field("", max_length=3)
    pin: SecretStr = SecretStr("")
    inner: dict[str, SecretStr] = {}
    api_key: str = Field("", max_length=3)

    @model_validator(mode="after")
    def _refuse(self) -> Login:
        if self.user == "bad":
            raise ValueError(f"{self.pin.get_secret_value()} is wrong")
        return self


def refusal(schema: type[BaseModel], document: Any, secret: Any = None) -> str:
    with pytest.raises(ConfigError) as caught:
        typed_config(schema, json.dumps(document), None if secret is None else json.dumps(secret))
    return str(caught.value)


def warning(schema: type[BaseModel], document: Any) -> str | None:
    typed_config(schema, json.dumps(document), None)
    return config_warning(schema, json.dumps(document), None)


@pytest.mark.parametrize(
    ("schema", "document", "said"),
    [
        (Sweep, {"concurrency": 500}, "concurrency = 500: Input should be less than or equal to 100"),
        (Sweep, {"concurrency": "many"}, 'concurrency = "many": Input should be a valid integer'),
        (Sweep, {"targets": [{}, {"batch": 101}]}, "targets.1.batch = 101: Input should be less than"),
        (Strict, {"concurency": 5}, "concurency: the model has no such key; did you mean `concurrency`?"),
        (Strict, {"nonsense": 5}, "Strict: nonsense: the model has no such key"),
    ],
)
def test_a_config_that_does_not_fit_is_reported_with_field_value_and_what_was_expected(
    schema: type[BaseModel], document: Any, said: str
) -> None:
    assert said in refusal(schema, document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"concurency": 5}, "concurency: the model has no such key; did you mean `concurrency`?"),
        ({"main": {"tabel": 1}}, "main.tabel: the model has no such key; did you mean `table`?"),
        ({"targets": [{"tabel": 1}]}, "targets.0.tabel: the model has no such key; did you mean `table`?"),
        (
            {"by_name": {"a": {"tabel": 1}}},
            "by_name.a.tabel: the model has no such key; did you mean `table`?",
        ),
        ({"zzz": 1}, "zzz: the model has no such key"),
        ({"concurrency": 1, "address": "x"}, None),
        ({"either": {"anything": 1, "table": "t"}}, None),
        ({}, None),
    ],
)
def test_a_key_that_the_model_leaves_out_is_a_warning(document: Any, said: str | None) -> None:
    assert warning(Sweep, document) == said


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    size: int = 1


class Looks(BaseModel):
    size: int = 1

    @model_validator(mode="before")
    @classmethod
    def _look(cls, data: Any) -> Any:
        return {"size": data.pop("large", 1)} if isinstance(data, dict) else data


class Names(RootModel[dict[str, int]]):
    pass


@pytest.mark.parametrize("schema", [Open, Looks, Names], ids=lambda schema: schema.__name__)
def test_a_model_that_may_know_a_key_by_itself_is_believed(schema: type[BaseModel]) -> None:
    assert warning(schema, {"large": 1}) is None


@pytest.mark.parametrize(
    ("document", "secret"),
    [
        ({"user": "x"}, {"pin": [SECRET]}),
        ({}, {"user": SECRET}),
        ({"pin": [SECRET]}, None),
        ({"inner": {"a": {"b": SECRET}}}, None),
        ({"api_key": SECRET}, None),
        ({"user": "bad", "pin": SECRET}, None),
    ],
    ids=[
        "secret_json",
        "a plain field of secret_json",
        "declared",
        "declared within",
        "by name",
        "whole model",
    ],
)
def test_a_value_that_may_be_secret_is_not_shown(document: Any, secret: Any) -> None:
    said = refusal(Login, document, secret)
    assert "the config does not fit Login: " in said
    assert SECRET not in said


def test_a_value_beside_a_secret_is_reported() -> None:
    assert 'user = "long"' in refusal(Login, {"user": "long"}, {"pin": SECRET})


@pytest.mark.usefixtures("slow")
def test_an_error_with_20000_items_is_bounded_and_says_how_many_there_are() -> None:
    wide = create_model("Wide", items=(list[int], []))
    said = refusal(wide, {"items": ["x" * 20] * 20_000})
    assert len(said.encode()) <= LIMIT
    assert "and 19990 more" in said
    assert "items.0" in said


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, RuntimeError, StopIteration])
def test_whatever_a_validator_raises_is_a_refusal(error: type[BaseException]) -> None:
    class Poisoned(BaseModel):
        size: int = 1

        @field_validator("size")
        @classmethod
        def _look(cls, value: int) -> int:
            raise error(SECRET)

    said = refusal(Poisoned, {"size": 1})
    assert f"a validator of Poisoned raised {error.__name__}" in said
    assert SECRET not in said


class Opaque:
    pass


def test_a_model_without_a_json_schema_is_checked_like_any_other() -> None:
    class Calling(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        call: Callable[[int], int] = abs
        thing: Annotated[Opaque | None, "of a class"] = None
        size: int = 1

    assert "size" in refusal(Calling, {"size": "x"})
    assert warning(Calling, {"sise": 1}) == "sise: the model has no such key; did you mean `size`?"


def test_a_secret_is_merged_into_the_objects_of_the_config() -> None:
    config, secret = '{"db": {"host": "h", "port": 1}, "size": 2}', '{"db": {"password": "p", "port": 3}}'
    assert typed_config(None, config, secret) == {
        "db": {"host": "h", "port": 3, "password": "p"},
        "size": 2,
    }
