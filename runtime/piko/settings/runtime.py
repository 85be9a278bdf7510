"""The settings of a runtime replica, read from files and then from the environment.

Files are TOML with a table `[default]`: `settings.toml`, `piko.toml` and `.secrets.toml` of the working
directory, in that order, or the one file that `PIKO_SETTINGS_PATH` names. An environment variable
`PIKO_<NAME>` wins over every file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from piko.settings.loader import SettingsLoader
from piko.settings.webhook import WebhookSettings


class Settings(WebhookSettings):
    """Settings of a runtime replica. Durations are seconds."""

    mysql_dsn: SecretStr = Field(
        description="database URL, mysql+asyncmy://… or sqlite+aiosqlite://…; or file:/path, "
        "the file that holds it"
    )
    timezone: str = Field("UTC", description="IANA zone of schedules without one")
    debug: bool = Field(False, description="log at debug level")

    leader_enabled: bool = Field(True, description="false: this replica acts alone, without an election")
    leader_name: str = Field(
        "default", min_length=1, max_length=255, description="replicas with the same name elect one leader"
    )
    leader_backend: Literal["database", "kubernetes"] = Field(
        "database", description="what keeps the lease: the database, or a Kubernetes Lease"
    )
    leader_namespace: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="namespace of the Kubernetes Lease; none: that of the pod",
    )
    leader_lease_s: float = Field(30.0, gt=0, le=3600, description="how long a silent leader keeps the lease")
    leader_renew_interval_s: float = Field(10.0, gt=0, description="how often the leader renews")

    crash_grace_s: float = Field(
        0.3,
        gt=0,
        le=600,
        description="how long to wait for another sign of life of a replica whose session lock fell, "
        "before its lease and its runs are taken over",
    )

    poll_interval_s: float = Field(1.0, gt=0, le=60, description="how often rows are compared")
    heartbeat_interval_s: float = Field(
        10.0, gt=0, le=600, description="how often a replica writes its heartbeat"
    )
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
    history_changes: int = Field(
        1000, ge=10, le=1_000_000, description="lines of change_log that are kept of one job, the newest"
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
        description="folder in which write intents and outcomes outlive the process; put it on a volume",
    )
    spool_persistent: bool = Field(
        True,
        description="false: spool_dir is deleted with its pod or machine; a warning and a metric say so",
    )
    spool_fsync: bool = Field(
        True,
        description="false: faster, but a crash of the machine (not the process) may lose the last moments",
    )

    hook_timeout_s: float = Field(
        10.0, gt=0, le=600, description="how long a hook may take before it is cancelled, and logged"
    )
    blocked_loop_s: float = Field(
        1.0, gt=0, le=600, description="how long a handler may block the event loop before the log names it"
    )
    blocked_loop_fatal_s: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="how long the event loop may be blocked before /healthz answers 503",
    )
    http_host: str = Field(
        "127.0.0.1", description="address of probes and metrics; `::`: every address, of IPv6 and IPv4"
    )
    http_port: int = Field(8080, ge=0, le=65535, description="port of probes and metrics; 0: any free one")
    web_enabled: bool = Field(
        False,
        description="true: each replica serves the API and the page too, on a thread and over connections of "
        "their own; `piko web` and `piko dev` always do",
    )
    web_host: str = Field(
        "127.0.0.1", description="address of the API and the page; `::`: every address, of IPv6 and IPv4"
    )
    web_port: int = Field(8090, ge=0, le=65535, description="port of the API and the page; 0: any free one")
    web_access: Literal["read", "token", "header", "kubernetes"] = Field(
        "read",
        description="who may read and act: everyone reads and nobody acts (read), or those whom tokens of "
        "Piko's own, headers of a proxy, or tokens of the cluster name",
    )
    web_tokens_dir: Path | None = Field(
        None, description="token: folder with the files `viewer` and `operator`, a name and a SHA-256 a line"
    )
    web_user_header: str = Field(
        "X-Forwarded-User", min_length=1, description="header: where the proxy names the user"
    )
    web_groups_header: str = Field(
        "X-Forwarded-Groups", min_length=1, description="header: where it names groups, separated by commas"
    )
    web_operators: str = Field("", description="header: users and groups that may act, separated by commas")
    web_trusted_proxies: str = Field(
        "127.0.0.1/32,::1/128",
        description="header: addresses or networks whose headers count, separated by commas",
    )
    web_namespace: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="kubernetes: where callers need rights to Piko's kinds; none: the namespace of the pod",
    )
    web_session_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="token, kubernetes: any long secret that seals the cookies of those who sign in; servers "
        "with the same one know each other's; none: each makes its own when it starts",
    )
    metrics_per_job: Literal["auto", "all", "summary"] = Field(
        "auto",
        description="histograms of metrics: by job (all), for all jobs together (summary), or by job below "
        "500 jobs (auto)",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, else JSON"
    )
    log_capture: Literal["all", "errors", "off"] = Field(
        "all",
        description="whose log lines are kept in the database: of all runs, of those that do not succeed, "
        "or none",
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


_LOADER = SettingsLoader(
    model=Settings,
    prefix="PIKO_",
    foreign=("PIKO_OPERATOR_", "PIKO_TEST_"),  # the environment may be shared with the operator
    files=("settings.toml", "piko.toml", ".secrets.toml"),
    path_variable="PIKO_SETTINGS_PATH",
)


def load_settings(
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    defaults: Mapping[str, object] | None = None,
    **overrides: object,
) -> Settings:
    """The settings in force: `defaults`, then files, then environment, then `overrides`.

    - `environment`: None is the process's.
    - `directory`: of the files; None is the working directory.
    - `defaults`: what holds where neither files nor environment say anything.
    - `overrides`: what holds whatever they say.

    Raises `SettingsError` that names each bad setting, where it comes from, its value (never a secret's)
    and what was expected.
    """
    settings, _ = _LOADER.load(
        environment=environment, directory=directory, overrides=overrides, defaults=defaults
    )
    return settings


def trace_settings(
    *, environment: Mapping[str, str] | None = None, directory: Path | None = None, **overrides: object
) -> tuple[Settings, dict[str, str]]:
    """As `load_settings`, and where each setting comes from that is not left at its default."""
    return _LOADER.load(environment=environment, directory=directory, overrides=overrides)
