"""Loads the settings of a program: the same rules for both programs, from a model of the fields.

Files come first, if the program has any. An environment variable `<prefix><NAME>` overrides every file, and
white space around its value is ignored. Values given in code override both. An unknown setting is an error.
All errors are reported at once, each with its setting, its source, its value (never a secret's), and what was
expected.

If the program has files, a message names a setting by its name and states its source; if there is only the
environment, it names the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from piko.config_keys import NO_KEYS, ConfigKeys, read_config_keys
from piko.dsn import DSN_EXAMPLE, parse_dsn
from piko.errors import SettingsError, did_you_mean
from piko.settings.files import read_table

_AS = "in the environment as "
_SHOWN_CHARACTERS = 300

# Kubernetes describes each Service of the namespace to every pod in variables like these; a Service
# called `piko` must not look like a misspelt setting.
_SERVICE_LINK = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")


class ProgramSettings(BaseModel):
    """What the settings of both programs have in common. Durations are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mysql_dsn: SecretStr
    config_key: SecretStr | None = Field(
        None,
        description="encrypts the secret parts of configs in the database: 32 random bytes in base64, as "
        "`openssl rand -base64 32` prints them; several are separated by commas, the first encrypts; none: "
        "they are stored in plain text",
    )

    @field_validator("config_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_config_keys(value.get_secret_value())
        return value

    @property
    def config_keys(self) -> ConfigKeys:
        """What encrypts and decrypts the secret parts of configs."""
        return NO_KEYS if self.config_key is None else read_config_keys(self.config_key.get_secret_value())


S = TypeVar("S", bound=ProgramSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsLoader(Generic[S]):
    """Where the settings of one program come from.

    `model` has their fields; `prefix` begins the name of each variable, unless `variables` gives a field
    another one. `foreign` are prefixes of variables that are somebody else's. `files` are names in the
    working directory, the last wins; the variable `path_variable` names one file instead of them.
    """

    model: type[S]
    prefix: str
    variables: Mapping[str, str] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    path_variable: str | None = None

    def load(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        overrides: Mapping[str, object] | None = None,
        defaults: Mapping[str, object] | None = None,
    ) -> tuple[S, dict[str, str]]:
        """The settings, and where each comes from that is not left at its default.

        - `environment`: None is the process's.
        - `directory`: of the files; None is the working directory.
        - `overrides`: what holds whatever files and environment say.
        - `defaults`: what holds where neither says anything.

        Raises `SettingsError`.
        """
        values: dict[str, object] = {}
        origins: dict[str, str] = {}
        environment = os.environ if environment is None else environment
        directory = Path.cwd() if directory is None else directory
        for name, value, origin in (
            *((name, value, "by default") for name, value in (defaults or {}).items()),
            *self._in_files(environment, directory),
            *self._in_environment(environment),
            *((name, value, "given in code") for name, value in (overrides or {}).items()),
        ):
            values[name], origins[name] = value, origin
        try:
            settings = self.model.model_validate(values)
        except ValidationError as error:
            problems = (self._explain(item, origins) for item in error.errors(include_url=False))
            raise SettingsError("\n".join(problems)) from None
        parse_dsn(settings.mysql_dsn.get_secret_value(), source=self._called("mysql_dsn"))
        return settings, origins

    # ---- where they are ----------------------------------------------------------------------------

    def _in_files(self, environment: Mapping[str, str], directory: Path) -> Iterator[tuple[str, object, str]]:
        named = None if self.path_variable is None else environment.get(self.path_variable)
        paths = [path for name in self.files if (path := directory / name).is_file()]
        if named is not None:
            paths = [Path(named.strip())]
            if not paths[0].is_file():
                raise SettingsError(
                    f"{self.path_variable} = {named}: no such file; name a TOML file with a table [default]"
                )
        for path in paths:
            for name, value in read_table(path).items():
                yield name, value, f"in {path}"

    def _in_environment(self, environment: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
        names = {variable: name for name, variable in self.variables.items()}
        for variable, text in environment.items():
            name = names.get(variable)
            if name is None and self._is_ours(variable, text):
                name = variable.removeprefix(self.prefix).lower()
                if name in self.variables:  # this variable is not one of a setting
                    name = variable.lower()
            if name is not None:
                yield name, text.strip(), f"{_AS}{variable}"

    def _is_ours(self, variable: str, text: str) -> bool:
        return (
            variable.startswith(self.prefix)
            and not variable.startswith(self.foreign)
            and variable != self.path_variable
            and not self._is_service_link(variable, text)
        )

    def _is_service_link(self, variable: str, text: str) -> bool:
        # A Service called `piko-http` says PIKO_HTTP_PORT = tcp://… of itself, which is a setting's name.
        if variable.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(text):
            return True
        return _SERVICE_LINK.fullmatch(variable.removeprefix(self.prefix)) is not None

    # ---- what is wrong with them -------------------------------------------------------------------

    def _called(self, name: str) -> str:
        """What a message calls the setting `name`: its name, or its variable where there are no files."""
        return name if self.files else self._variable(name)

    def _variable(self, name: str) -> str:
        if name.upper().startswith(self.prefix):
            return name.upper()
        return self.variables.get(name, f"{self.prefix}{name.upper()}")

    def _explain(self, item: Any, origins: Mapping[str, str]) -> str:
        message = str(item["msg"]).removeprefix("Value error, ")
        if not item["loc"]:  # of several settings together: it names them itself
            return message
        name = str(item["loc"][0])
        origin = origins.get(name, "")
        variable = origin.removeprefix(_AS) if origin.startswith(_AS) else self._variable(name)
        called, place = (f"`{name}`", f" ({origin})") if self.files else (variable, "")
        if item["type"] == "missing":
            return self._missing(name, called)
        if item["type"] == "extra_forbidden":
            known = sorted(self._called(each) for each in self.model.model_fields)
            meant = did_you_mean(
                name if self.files else variable, known, prefix="" if self.files else self.prefix
            )
            return (
                f"unknown setting {called}{place or ' in the environment'}{meant}; "
                f"known settings are {', '.join(known)}"
            )
        known_field = self.model.model_fields.get(name)
        secret = known_field is None or _is_secret(known_field.annotation)
        shown = "(not shown)" if secret else _short(item["input"])
        return f"setting {called} = {shown}{place}: {message[:1].lower()}{message[1:]}"

    def _missing(self, name: str, called: str) -> str:
        variable, where = self._variable(name), "it in the environment"
        if self.files:
            table = f"the table [default] of {' or '.join(self.files)}"
            where = f"{variable} in the environment, or `{name}` in {table}"
        message = f"setting {called} is missing: set {where}"
        return f"{message}, for example {variable}={DSN_EXAMPLE}" if name == "mysql_dsn" else message


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
