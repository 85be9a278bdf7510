"""The spec of a PikoJobConfig: what one job is configured with."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from piko.json_object import BYTES, check_json
from piko_operator.field_types import (
    CLASS_IS_IMMUTABLE,
    ClassName,
    Column,
    ConfigPath,
    DataKey,
    Instant,
    JobId,
    ObjectName,
    SpecPart,
    instant_column,
    part_rules,
)
from piko_operator.policies import AdoptionPolicy, DriftPolicy


def to_json(value: object) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _config(value: object) -> object:
    if isinstance(value, dict):
        check_json(value)
        if (size := len(json.dumps(value, ensure_ascii=False).encode())) > BYTES:
            raise ValueError(f"has {size} bytes; expected at most {BYTES}")
    return value


Config = Annotated[
    dict[str, JsonValue],
    BeforeValidator(_config),
    Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
]


class KeyRef(SpecPart):
    """A key of a Secret or ConfigMap."""

    name: ObjectName
    key: DataKey
    path: ConfigPath | None = Field(
        None,
        description="The key holds a plain text that goes here, such as db.password; without a path it holds "
        "a JSON object.",
    )


class ConfigSource(SpecPart):
    """Where a further part of a config lies: exactly one place."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    secret_key_ref: KeyRef | None = Field(None, description="A key of a Secret in the same namespace.")
    config_map_key_ref: KeyRef | None = Field(None, description="A key of a ConfigMap in the same namespace.")

    @model_validator(mode="after")
    def _exactly_one(self) -> ConfigSource:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("expected exactly one of secretKeyRef, configMapKeyRef")
        return self


class JobConfigSpec(SpecPart):
    """The configuration that is wanted."""

    model_config = part_rules(CLASS_IS_IMMUTABLE)

    job_id: Annotated[JobId, Column("job_id")] = Field(
        description="The job, as the code registers it. It cannot be changed."
    )
    class_name: ClassName | None = Field(
        None,
        description="Which operator serves the resource, where there are several: the one of this class; "
        "without it, the one without a class. It cannot be changed.",
    )
    schema_version: Annotated[int, Column("schema_version")] = Field(
        1, ge=1, le=2147483647, description="Version of the config's shape, as the job counts it."
    )
    effective_from: Annotated[Instant | None, instant_column("effective_from")] = Field(
        None,
        description="The config in force stays in force until then; without it this one holds at once.",
    )
    config: Annotated[Config, Column("config_json", to_json, json.loads)] = Field(
        {}, description="Any object; checked against the job's own model."
    )
    config_from: list[ConfigSource] = Field(
        [],
        max_length=16,
        description="Further parts, merged over config in this order, objects within objects too. They are "
        "shown nowhere.",
    )
    adoption_policy: AdoptionPolicy = "Refuse"
    drift_policy: DriftPolicy = "Enforce"
    deletion_policy: Literal["Delete", "Forget", "Retain"] = Field(
        "Delete",
        description="When the resource is deleted, the row is: Delete, deleted, its revisions are kept for a "
        "while; Forget, deleted with all its revisions; Retain, handed back to SQL as it is.",
    )
