"""Settings of the operator, from the environment alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from piko.dsn import DSN_EXAMPLE, parse_dsn
from piko.errors import SettingsError, did_you_mean

PREFIX = "PIKO_OPERATOR_"
DSN_VARIABLE = "PIKO_MYSQL_DSN"

_SHOWN_CHARACTERS = 300
_CLUSTER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class OperatorSettings(BaseModel):
    """Durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mysql_dsn: SecretStr = Field(description="database URL, mysql+asyncmy://…")
    cluster: str = Field("default", description="this cluster's name in managed_by, unique per database")
    namespaces: tuple[str, ...] = Field((), description="comma list; empty: all")
    http_host: str = Field("127.0.0.1", description="address of probes and metrics")
    http_port: int = Field(8081, ge=0, le=65535, description="port of probes and metrics; 0: any free one")
    status_interval_s: float = Field(1.0, gt=0, le=600, description="how often status is brought up to date")
    sweep_interval_s: float = Field(
        30.0, gt=0, le=3600, description="how often all resources and rows are compared"
    )
    orphan_limit: int | None = Field(
        None,
        ge=0,
        description="rows of vanished resources that one sweep may disable or remove; "
        "unset: 10, or 5 % of this cluster's rows where that is more",
    )
    orphan_grace_s: float = Field(
        86_400.0, ge=0, le=31_536_000, description="how long after its resource vanished a row is removed"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, else JSON"
    )
    debug: bool = Field(False, description="log at debug level")

    @field_validator("cluster")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not _CLUSTER.fullmatch(value):
            raise ValueError("expected 1 to 63 of A-Z a-z 0-9 . _ -, with a letter or digit at both ends")
        return value

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        names = (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )
        if isinstance(names, tuple) and not all(_NAMESPACE.fullmatch(str(name)) for name in names):
            raise ValueError(
                "expected namespace names separated by commas, for example data,reports; empty: all"
            )
        return names


def load_settings(environment: Mapping[str, str] | None = None) -> OperatorSettings:
    """The settings that `environment` holds (None: the process's), without white space around the values.

    Raises `SettingsError` that names each bad variable and what was expected.
    """
    given = os.environ if environment is None else environment
    known = {name: _variable(name) for name in OperatorSettings.model_fields}
    strays = sorted(name for name in given if name.startswith(PREFIX) and name not in known.values())
    strays = [name for name in strays if not _is_service_link(name)]
    if strays:
        meant = did_you_mean(strays[0], known.values(), prefix=PREFIX)
        raise SettingsError(
            f"unknown setting {', '.join(strays)} in the environment{meant}; "
            f"known are {', '.join(sorted(known.values()))}"
        )
    values = {name: given[variable].strip() for name, variable in known.items() if variable in given}
    try:
        settings = OperatorSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item) for item in error.errors(include_url=False))) from None
    parse_dsn(settings.mysql_dsn.get_secret_value(), source=DSN_VARIABLE)
    return settings


def _variable(name: str) -> str:
    return DSN_VARIABLE if name == "mysql_dsn" else PREFIX + name.upper()


def _is_service_link(name: str) -> bool:
    # Kubernetes describes a Service called `piko-operator` to every pod beside it in such variables.
    return re.fullmatch(PREFIX + r"(\w+_)?(SERVICE_(HOST|PORT)\w*|PORT(_\d+_\w+)?)", name) is not None


def _explain(item: Any) -> str:
    name = str(item["loc"][0])
    variable = _variable(name)
    if item["type"] == "missing":
        return (
            f"setting {variable} is missing: set it in the environment, for example {variable}={DSN_EXAMPLE}"
        )
    message = str(item["msg"]).removeprefix("Value error, ")
    shown = "(not shown)" if variable == DSN_VARIABLE else repr(item["input"][:_SHOWN_CHARACTERS])
    return f"setting {variable} = {shown}: {message[:1].lower()}{message[1:]}"
