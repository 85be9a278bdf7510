"""Settings of the operator, from the environment alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from piko.dsn import DSN_EXAMPLE, parse_dsn
from piko.errors import SettingsError

PREFIX = "PIKO_OPERATOR_"
DSN_VARIABLE = "PIKO_MYSQL_DSN"

_CLUSTER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class OperatorSettings(BaseSettings):
    """Durations are seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, populate_by_name=True, extra="ignore")

    mysql_dsn: SecretStr = Field(alias=DSN_VARIABLE, description="database URL, mysql+asyncmy://…")
    cluster: str = Field("default", description="this cluster's name in managed_by, unique per database")
    namespaces: Annotated[tuple[str, ...], NoDecode] = Field((), description="comma list; empty: all")
    http_host: str = Field("127.0.0.1", description="address of probes and metrics")
    http_port: int = Field(8081, ge=0, le=65535, description="port of probes and metrics; 0: any free one")
    status_interval_s: float = Field(1.0, gt=0, le=600, description="how often status is brought up to date")
    sweep_interval_s: float = Field(
        30.0, gt=0, le=3600, description="how often all resources and rows are compared"
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
    """The settings in force. Raises `SettingsError` that names each bad variable and what was expected."""
    given = os.environ if environment is None else environment
    known = {name: PREFIX + name.upper() for name in OperatorSettings.model_fields if name != "mysql_dsn"}
    strays = sorted(name for name in given if name.startswith(PREFIX) and name not in known.values())
    strays = [name for name in strays if not _is_service_link(name)]
    if strays:
        raise SettingsError(
            f"unknown setting {', '.join(strays)} in the environment; "
            f"known are {', '.join(sorted(known.values()))}"
        )
    values: dict[str, Any] = {name: given[variable] for name, variable in known.items() if variable in given}
    if DSN_VARIABLE in given:
        values["mysql_dsn"] = given[DSN_VARIABLE]
    try:
        settings = OperatorSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item) for item in error.errors(include_url=False))) from None
    parse_dsn(settings.mysql_dsn.get_secret_value(), source=DSN_VARIABLE)
    return settings


def _is_service_link(name: str) -> bool:
    # Kubernetes describes a Service called `piko-operator` to every pod beside it in such variables.
    return re.fullmatch(PREFIX + r"(\w+_)?(SERVICE_(HOST|PORT)\w*|PORT(_\d+_\w+)?)", name) is not None


def _explain(item: Any) -> str:
    name = str(item["loc"][0])
    variable = DSN_VARIABLE if name in ("mysql_dsn", DSN_VARIABLE) else PREFIX + name.upper()
    if item["type"] == "missing":
        return (
            f"setting {variable} is missing: set it in the environment, for example {variable}={DSN_EXAMPLE}"
        )
    message = str(item["msg"]).removeprefix("Value error, ")
    shown = "(not shown)" if variable == DSN_VARIABLE else repr(item["input"])
    return f"setting {variable} = {shown}: {message[:1].lower()}{message[1:]}"
