"""Settings of the operator, from the environment alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from piko.settings.loader import ProgramSettings, SettingsLoader
from piko_operator.shapes import LABEL_NAME_EXPECTED
from piko_operator.tenancy import Tenant, read_tenants

PREFIX = "PIKO_OPERATOR_"
SHARED = {"mysql_dsn": "PIKO_MYSQL_DSN", "config_key": "PIKO_CONFIG_KEY"}
"""Settings whose variables are those of the replicas."""

_CLUSTER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class OperatorSettings(ProgramSettings):
    """Durations are seconds."""

    mysql_dsn: SecretStr = Field(
        description="database URL, mysql+asyncmy://…; or file:/path, the file that holds it"
    )
    cluster: str = Field("default", description="this cluster's name in managed_by, unique per database")
    namespaces: tuple[str, ...] = Field((), description="comma list; empty: all")
    class_name: str | None = Field(
        None, description="serves the resources of this className; none: those without one"
    )
    tenants: tuple[Tenant, ...] = Field(
        (), description="which namespaces may claim which jobs, as JSON; none: any may claim any"
    )
    lease_name: str = Field(
        "operator",
        min_length=1,
        max_length=63,
        description="replicas with the same name and namespace compete for the Lease piko-NAME; one acts",
    )
    lease_namespace: str | None = Field(
        None, min_length=1, description="namespace of the Lease; none: that of the pod"
    )
    http_host: str = Field("127.0.0.1", description="address of probes and metrics")
    http_port: int = Field(8081, ge=0, le=65535, description="port of probes and metrics; 0: any free one")
    admission_port: int | None = Field(
        None, ge=0, le=65535, description="port of the admission webhook; none: no webhook; 0: any free one"
    )
    admission_service: str = Field(
        "piko-operator-admission",
        min_length=1,
        max_length=63,
        description="Service of the webhook in the Lease's namespace, and the Secret with its certificate",
    )
    admission_configuration: str = Field(
        "piko-operator-admission",
        min_length=1,
        max_length=253,
        description="ValidatingWebhookConfiguration and MutatingWebhookConfiguration that are to trust the "
        "certificate",
    )
    timezone: str = Field("UTC", description="zone of schedules without one, as the replicas have it")
    status_interval_s: float = Field(
        1.0, gt=0, le=600, description="how often changed rows and states are read"
    )
    status_writes_per_s: float = Field(
        100.0,
        ge=1,
        le=10_000,
        description="writes of status per second, of which the progress of runs takes a fifth at most",
    )
    sweep_interval_s: float = Field(
        120.0, gt=0, le=3600, description="how often all resources are listed, and Secrets read again"
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

    @field_validator("class_name")
    @classmethod
    def _is_a_class(cls, value: str | None) -> str | None:
        if value and not _NAMESPACE.fullmatch(value):
            raise ValueError(f"{LABEL_NAME_EXPECTED}; empty: no class")
        return value or None

    @field_validator("tenants", mode="before")
    @classmethod
    def _read_tenants(cls, value: object) -> object:
        return read_tenants(value) if isinstance(value, str) else value

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


_LOADER = SettingsLoader(model=OperatorSettings, prefix=PREFIX, variables=SHARED)


def load_settings(environment: Mapping[str, str] | None = None) -> OperatorSettings:
    """The settings that `environment` holds; None: the process's.

    Raises `SettingsError` that names each bad variable, its value (never a secret's) and what was expected.
    """
    return _LOADER.load(environment=environment)[0]
