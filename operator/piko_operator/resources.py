"""The custom resources as typed models.

`crds/` is what the API server checks; it is generated from these models (`make generate`), which are the same
rules for the operator and for programs that read resource files without a cluster. Importing this
module needs only pydantic and Piko.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from piko_operator.backfill_spec import BackfillRangeSpec
from piko_operator.config_spec import JobConfigSpec
from piko_operator.field_types import Namespace, ObjectName
from piko_operator.schedule_spec import ScheduleSpec

GROUP = "piko.dev"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = "piko.dev/finalizer"


class Metadata(BaseModel):
    """The part of an object's metadata that the operator reads; other fields are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: ObjectName
    namespace: Namespace = "default"
    uid: str = ""
    generation: int = 0


class PikoSchedule(BaseModel):
    """When one job runs. The operator mirrors it into the row of the job in `scheduled_job`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    api_version: Literal["piko.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["PikoSchedule"]
    metadata: Metadata
    spec: ScheduleSpec
    status: dict[str, JsonValue] = {}


class PikoJobConfig(BaseModel):
    """What one job is configured with. The operator mirrors it into the row of the job in `job_config`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    api_version: Literal["piko.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["PikoJobConfig"]
    metadata: Metadata
    spec: JobConfigSpec
    status: dict[str, JsonValue] = {}


class PikoBackfill(BaseModel):
    """Windows of one job that are run again, or for the first time. The operator asks for them once."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    api_version: Literal["piko.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["PikoBackfill"]
    metadata: Metadata
    spec: BackfillRangeSpec
    status: dict[str, JsonValue] = {}


Mirrored = PikoSchedule | PikoJobConfig
"""What becomes a row."""
MIRRORED: dict[str, type[Mirrored]] = {"PikoSchedule": PikoSchedule, "PikoJobConfig": PikoJobConfig}
Manifest = Mirrored | PikoBackfill
MODELS: dict[str, type[Manifest]] = {**MIRRORED, "PikoBackfill": PikoBackfill}
