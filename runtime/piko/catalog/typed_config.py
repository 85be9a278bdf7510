"""A config checked against its job's model: one check with one message, wherever a config is read.

A message names the field, its value and what was expected. A value is left out if it may be secret: it
comes from `secret_json`, the model declares a secret in that field, or the field has the name of one. A
key that the model does not have would be dropped silently, so it is reported too: usually it is misspelt.
"""

from __future__ import annotations

import json
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from piko.errors import ConfigError, did_you_mean
from piko.json_object import merged, read_object
from piko.model.config_schema import sounds_secret
from piko.observability.redaction import model_secrets
from piko.text import excerpt, listed, type_name

_SHOWN = 80

Path = tuple[str | int, ...]


def typed_config(
    schema: type[BaseModel] | None,
    config_json: str,
    secret_json: str | None,
    overrides_json: str | None = None,
) -> Any:
    """The config as an instance of its model, or as a dict if the job has none.

    - `secret_json`: an object that is merged over `config_json`, as the next one is.
    - `overrides_json`: an object that is merged over the rest; objects within it are merged, too.

    Raises `ConfigError` that names each field, its value unless it is secret, and what was expected.
    """
    public, secret = _documents(config_json, secret_json)
    document = merged(public, secret)
    if overrides_json is not None:
        document = merged(document, _object("config_overrides", overrides_json))
    if schema is None:
        return document
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        issues = listed(_issues(error, schema, document, secrets=secret.keys()), separator="; ")
        raise ConfigError(excerpt(f"the config does not fit {schema.__name__}: {issues}")) from None
    except BaseException as error:  # noqa: BLE001 - a model's validators are somebody's code
        raise ConfigError(
            f"the config cannot be checked: a validator of {schema.__name__} raised {type_name(error)}; "
            "a validator refuses a value with ValueError"
        ) from None


def secrets_in(value: Any) -> frozenset[str]:
    """The texts that a model declares as secret. Raises `ConfigError` if it cannot be read."""
    try:
        return model_secrets(value)
    except BaseException as error:  # noqa: BLE001 - a model's attributes are somebody's code
        raise ConfigError(f"the config cannot be read: a field raised {type_name(error)}") from None


def config_warning(schema: type[BaseModel] | None, config_json: str, secret_json: str | None) -> str | None:
    """The keys of a valid config that its model does not have; None if there are none."""
    if schema is None:
        return None
    try:
        document = merged(*_documents(config_json, secret_json))
        unknown = dict(_unknown_keys(schema, document, ()))
    except BaseException:  # noqa: BLE001 - a model with fields of its own kind: nothing is known about it
        return None
    problems = (f"{_name(path)}: {_unknown(path, names)}" for path, names in unknown.items())
    return excerpt(listed(problems, separator="; ")) or None


def _documents(config_json: str, secret_json: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    return _object("config_json", config_json), (
        {} if secret_json is None else _object("secret_json", secret_json)
    )


def _object(column: str, text: str) -> dict[str, Any]:
    try:
        return read_object(text)
    except ValueError as error:
        raise ConfigError(f"{column} {error}") from None


# ---- what does not fit ------------------------------------------------------------------------------


def _issues(
    error: ValidationError, schema: type[BaseModel], document: dict[str, Any], *, secrets: Collection[str]
) -> Iterator[str]:
    items = error.errors(include_url=False, include_context=False)
    unknown = dict(_unknown_keys(schema, document, (), forbidden=True))
    for item in items:
        path: Path = item["loc"]
        if _may_be_secret(schema, path, secrets):
            yield f"{_name(path)}: {item['type']}"
        elif item["type"] == "extra_forbidden" and path in unknown:
            yield f"{_name(path)}: {_unknown(path, unknown[path])}"
        else:
            yield f"{_name(path)}{_value(item)}: {item['msg'].removeprefix('Value error, ')}"


def _name(path: Path) -> str:
    return excerpt(".".join(str(part) for part in path), limit=_SHOWN * 2) or "config"


def _value(item: ErrorDetails) -> str:
    value = item["input"]
    if item["type"] == "missing" or not item["loc"] or isinstance(value, BaseModel):
        return ""  # what is there is the object around it
    return " = " + excerpt(json.dumps(value, ensure_ascii=False, default=_kind), limit=_SHOWN)


def _kind(value: object) -> str:
    """Stands for a value that a validator has made of what JSON holds."""
    return type(value).__name__


def _may_be_secret(schema: type[BaseModel], path: Path, secrets: Collection[str]) -> bool:
    """Whether an error at `path` may show a secret. A text of the whole model's may show any."""
    if not path:
        return bool(secrets) or _declares_secret(schema, set())
    if path[0] in secrets or any(isinstance(part, str) and sounds_secret(part) for part in path):
        return True
    fields = [field for name, field in schema.model_fields.items() if path[0] in _names(name, field, schema)]
    return any(_declares_secret(field.annotation, set()) for field in fields)


def _declares_secret(annotation: Any, seen: set[Any]) -> bool:
    if annotation in (SecretStr, SecretBytes):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return False
        seen.add(annotation)
        return any(_declares_secret(field.annotation, seen) for field in annotation.model_fields.values())
    return any(_declares_secret(item, seen) for item in get_args(annotation))


# ---- keys that the model does not have --------------------------------------------------------------


def _unknown(path: Path, names: Sequence[str]) -> str:
    return f"the model has no such key{did_you_mean(str(path[-1]), names)}"


def _unknown_keys(
    schema: type[BaseModel], document: Mapping[str, Any], path: Path, *, forbidden: bool = False
) -> Iterator[tuple[Path, Sequence[str]]]:
    """The places of keys that `schema` does not have, with those that it has; `forbidden`: refuses.

    A model that may look at the document before its fields do is asked nothing: it may know the key.
    """
    if not isinstance(document, dict) or _looks_itself(schema):
        return
    extra = schema.model_config.get("extra") or "ignore"
    known = {
        called: field for name, field in schema.model_fields.items() for called in _names(name, field, schema)
    }
    for key, value in document.items():
        if key in known:
            for inner, item, place in _within(known[key].annotation, value, (*path, key)):
                yield from _unknown_keys(inner, item, place, forbidden=forbidden)
        elif extra == ("forbid" if forbidden else "ignore"):
            yield (*path, key), sorted(known)


def _looks_itself(schema: type[BaseModel]) -> bool:
    looks = schema.__pydantic_decorators__.model_validators.values()
    own = schema.__init__ is not BaseModel.__init__ or schema.__pydantic_root_model__
    return own or any(item.info.mode != "after" for item in looks)


def _names(name: str, field: Any, schema: type[BaseModel]) -> set[str]:
    """What a document may call a field."""
    config = schema.model_config
    alias = field.validation_alias if field.validation_alias is not None else field.alias
    if alias is None:
        return {name}
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    found = {str(item.path[0] if isinstance(item, AliasPath) else item) for item in choices}
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    return found | ({name} if by_name else set())


def _within(annotation: Any, value: Any, path: Path) -> Iterator[tuple[type[BaseModel], Any, Path]]:
    """The models in a field, with what they are made of; nothing where more than one could be meant."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, value, path
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        others = [item for item in arguments if item is not type(None)]
        if len(others) == 1:
            yield from _within(others[0], value, path)
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _within(arguments[0], item, (*path, index))
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _within(arguments[1], item, (*path, key))
