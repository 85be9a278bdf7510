"""One typed model of the settings, read from files and then from the environment.

Files are TOML with a table `[default]`: `settings.toml`, `piko.toml` and `.secrets.toml` of the working
directory, in that order, or the one file that `PIKO_SETTINGS_PATH` names. An environment variable
`PIKO_<NAME>` wins over every file; white space around its value is not part of it. A setting that nobody
knows is an error, not a silence.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from piko.dsn import DSN_EXAMPLE, parse_dsn
from piko.errors import SettingsError, did_you_mean

PREFIX = "PIKO_"
FILES = ("settings.toml", "piko.toml", ".secrets.toml")
PATH_VARIABLE = "PIKO_SETTINGS_PATH"

_SHOWN_CHARACTERS = 300

# The environment is shared with the operator, whose variables have a prefix of their own.
_FOREIGN_PREFIXES = ("PIKO_OPERATOR_", "PIKO_TEST_")

# Kubernetes describes each Service of the namespace to every pod in variables like these; a Service
# called `piko` must not look like a misspelt setting.
_SERVICE_LINK = re.compile(
    r"PIKO_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")


class Settings(BaseModel):
    """Settings of a runtime replica. Durations are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=False, allow_inf_nan=False)

    mysql_dsn: SecretStr = Field(description="database URL, mysql+asyncmy://… or sqlite+aiosqlite://…")
    timezone: str = Field("UTC", description="IANA zone of schedules that name none")
    debug: bool = Field(False, description="log at debug level")

    leader_enabled: bool = Field(True, description="false: this replica acts alone, without an election")
    leader_name: str = Field(
        "default", min_length=1, max_length=255, description="replicas of one name elect one"
    )
    leader_backend: Literal["database", "kubernetes"] = Field(
        "database", description="what keeps the lease: the database, or a Kubernetes Lease"
    )
    leader_namespace: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="namespace of the Kubernetes Lease; none: that of the pod",
    )
    leader_lease_s: float = Field(30.0, gt=0, le=3600, description="how long a silent leader stays leader")
    leader_renew_interval_s: float = Field(10.0, gt=0, description="how often the leader renews")

    poll_interval_s: float = Field(1.0, gt=0, le=60, description="how often rows are compared")
    heartbeat_interval_s: float = Field(10.0, gt=0, le=600, description="how often an instance says it lives")
    drain_timeout_s: float = Field(
        20.0, ge=0, le=3600, description="how long a stop waits for running handlers"
    )
    executor: Literal["leader", "replicas"] = Field(
        "leader", description="where runs execute: in the leader's process, or in every replica"
    )
    max_concurrent_runs: int = Field(1000, ge=1, le=1_000_000, description="runs at once in one replica")
    handler_threads: int = Field(
        0,
        ge=0,
        le=10_000,
        description="threads for asyncio.to_thread in handlers; "
        "0: as many as max_concurrent_runs, at most 64",
    )
    history_max_age_s: float = Field(
        2_592_000.0,
        gt=0,
        le=3_153_600_000,
        description="how long runs and progress of deleted jobs, and runs of ended backfills, are kept",
    )

    cpu_backend: Literal["processes", "dask"] = Field(
        "processes", description="where app.cpu_manager computes: on this machine, or on a Dask cluster"
    )
    cpu_workers: int = Field(
        0, ge=0, le=1024, description="worker processes of this replica; 0: one for each usable processor"
    )
    cpu_max_tasks_per_child: int = Field(
        0, ge=0, le=1_000_000_000, description="items after which a worker process is replaced; 0: never"
    )
    dask_address: str | None = Field(
        None, description="scheduler of the Dask cluster, for example tcp://dask-scheduler:8786"
    )
    spool_dir: Path = Field(
        Path(".piko/spool"),
        description="folder in which write intents and ends of runs outlive the process; its own volume",
    )
    spool_fsync: bool = Field(
        True, description="false: what the machine's crash, not the process's, finds in the spool may be lost"
    )

    blocked_loop_s: float = Field(
        1.0, gt=0, le=600, description="how long a handler may block the event loop before the log names it"
    )
    blocked_loop_fatal_s: float = Field(
        60.0, gt=0, le=86_400, description="how long the event loop may be blocked before /healthz turns red"
    )
    http_host: str = Field(
        "127.0.0.1", description="address of probes, metrics and pages; `::`: every one, of IPv6 and IPv4"
    )
    http_port: int = Field(
        8080, ge=0, le=65535, description="port of probes, metrics and pages; 0: any free one"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, else JSON"
    )

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError("expected an IANA zone name, for example UTC or Asia/Shanghai") from None
        return value

    @model_validator(mode="after")
    def _lease_outlives_renewals(self) -> Settings:
        if self.leader_lease_s < 2 * self.leader_renew_interval_s:
            raise ValueError(
                f"leader_lease_s = {self.leader_lease_s:g} must be at least twice "
                f"leader_renew_interval_s = {self.leader_renew_interval_s:g}, "
                "so that one lost renewal is survived"
            )
        return self

    @model_validator(mode="after")
    def _dask_is_somewhere(self) -> Settings:
        if self.cpu_backend == "dask" and not self.dask_address:
            raise ValueError(
                'cpu_backend = "dask" needs `dask_address`: set PIKO_DASK_ADDRESS to the scheduler, '
                "for example tcp://dask-scheduler:8786"
            )
        return self


def load_settings(
    *, environment: Mapping[str, str] | None = None, directory: Path | None = None, **overrides: object
) -> Settings:
    """The settings in force: files, then environment, then `overrides`.

    Raises `SettingsError` that names each bad setting, where it comes from, its value (never a secret's)
    and what was expected.
    """
    settings, _ = trace_settings(environment=environment, directory=directory, **overrides)
    return settings


def trace_settings(
    *, environment: Mapping[str, str] | None = None, directory: Path | None = None, **overrides: object
) -> tuple[Settings, dict[str, str]]:
    """As `load_settings`, and where each setting comes from that is not left at its default."""
    environment = os.environ if environment is None else environment
    directory = Path.cwd() if directory is None else directory
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for path in _files(environment, directory):
        for name, value in _read_table(path).items():
            values[name] = value
            origins[name] = f"in {path}"
    for variable, text in environment.items():
        if (
            not variable.startswith(PREFIX)
            or variable.startswith(_FOREIGN_PREFIXES)
            or variable == PATH_VARIABLE
        ):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if _is_service_link(variable, text):
            continue
        values[name] = text.strip()
        origins[name] = f"in the environment as {variable}"
    for name, override in overrides.items():
        values[name] = override
        origins[name] = "given in code"
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item, origins) for item in error.errors())) from None
    parse_dsn(settings.mysql_dsn.get_secret_value())
    return settings, origins


def _is_service_link(variable: str, text: str) -> bool:
    # A Service called `piko-http` describes itself as PIKO_HTTP_PORT = tcp://…, which is a setting's name.
    if variable.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(text):
        return True
    return _SERVICE_LINK.fullmatch(variable) is not None


def _files(environment: Mapping[str, str], directory: Path) -> list[Path]:
    named = environment.get(PATH_VARIABLE)
    if named is None:
        return [directory / name for name in FILES if (directory / name).is_file()]
    path = Path(named.strip())
    if not path.is_file():
        raise SettingsError(
            f"{PATH_VARIABLE} = {named}: no such file; name a TOML file with a table [default]"
        )
    return [path]


def _read_table(path: Path) -> dict[str, Any]:
    try:
        # utf-8-sig: some editors begin a file with a byte order mark.
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # no UTF-8, no TOML, or a number of thousands of digits
        raise SettingsError(f"settings file {path} is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(
            f"settings file {path}: its values are nested too deep; expected plain values in [default]"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"settings file {path} cannot be read: {error.strerror}; let this process read it"
        ) from None
    table = document.get("default", {})
    strays = sorted(set(document) - {"default"})
    if strays or not isinstance(table, dict):
        raise SettingsError(
            f"settings file {path}: expected one table [default] with all settings in it, "
            f"found {', '.join(strays) or 'a value'} beside it"
        )
    return _by_lower_name(table, path)


def _by_lower_name(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name.lower() in found:
            raise SettingsError(
                f"settings file {path}: `{name.lower()}` is given twice, in capitals and not; keep one"
            )
        found[name.lower()] = value
    return found


def _explain(item: Any, origins: Mapping[str, str]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if not name:
        return str(item["msg"]).removeprefix("Value error, ")
    origin = origins.get(name, "")
    if item["type"] == "missing":
        return (
            f"setting `{name}` is missing: set {PREFIX}{name.upper()} in the environment, or `{name}` "
            f"in the table [default] of {' or '.join(FILES)}"
            + (f"; for example {DSN_EXAMPLE}" if name == "mysql_dsn" else "")
        )
    if item["type"] == "extra_forbidden":
        known = sorted(Settings.model_fields)
        return (
            f"unknown setting `{name}` ({origin}){did_you_mean(name, known)}; "
            f"known settings are {', '.join(known)}"
        )
    field = Settings.model_fields.get(name)
    secret = field is None or field.annotation is SecretStr
    shown = "(not shown)" if secret else _short(item["input"])
    return f"setting `{name}` = {shown} ({origin}): {str(item['msg']).removeprefix('Value error, ')}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
