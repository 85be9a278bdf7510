"""The settings of the webhook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from piko.errors import SettingsError
from piko.settings.loader import ProgramSettings
from piko.webhook_target import is_in_file, parse_keys, parse_target


class WebhookSettings(ProgramSettings):
    """Where changes of jobs are posted to, and how. Durations are seconds."""

    webhook_url: SecretStr | None = Field(
        None,
        description="URL to which it is posted that jobs begin to fail, get late and recover; or file:/path, "
        "the file that holds it; none: nothing is posted",
    )
    webhook_key: SecretStr | None = Field(
        None,
        description="key that signs posts, whsec_ and base64 or any long text, or two of them in a change; "
        "or file:/path",
    )
    webhook_ca: Path | None = Field(
        None,
        description="file with the authorities that the certificate of the webhook may be from; "
        "none: those of the system",
    )
    webhook_timeout_s: float = Field(10.0, gt=0, le=600, description="how long a post may take")
    webhook_retry_s: float = Field(
        86_400.0,
        gt=0,
        le=2_592_000,
        description="how long a post that fails is tried again before it is given up, and logged",
    )

    @field_validator("webhook_url")
    @classmethod
    def _webhook_is_a_url(cls, value: SecretStr | None) -> SecretStr | None:
        return _checked(value, parse_target)

    @field_validator("webhook_key")
    @classmethod
    def _webhook_key_can_sign(cls, value: SecretStr | None) -> SecretStr | None:
        return _checked(value, parse_keys)

    @model_validator(mode="after")
    def _webhook_is_signed(self) -> Self:
        if self.webhook_url is not None and self.webhook_key is None:
            raise ValueError(
                "`webhook_url` needs `webhook_key`, which signs what is posted: set PIKO_WEBHOOK_KEY, "
                'for example to what `echo "whsec_$(openssl rand -base64 32)"` prints'
            )
        return self


def _checked(value: SecretStr | None, parse: Callable[[str], object]) -> SecretStr | None:
    """`value`, which is what `parse` takes; what is in a file is looked at when it is needed."""
    text = "" if value is None else value.get_secret_value()
    if value is not None and not is_in_file(text):
        try:
            parse(text)
        except SettingsError as error:
            raise ValueError(str(error)) from None
    return value
