"""The spec of a PikoBackfill: windows of a job that are run again, or for the first time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from piko_operator.field_types import (
    CLASS_IS_IMMUTABLE,
    ClassName,
    Duration,
    Immutable,
    Instant,
    JobId,
    SpecPart,
    cel,
    part_rules,
)

_ANOTHER = "is immutable: create another PikoBackfill"


class BackfillRangeSpec(SpecPart):
    """The range that is wanted, and how it is run."""

    model_config = part_rules(
        cel("self.from < self.to", "from must be before to", at=".to"),
        cel(
            "has(self.ttlAfterFinished) == has(oldSelf.ttlAfterFinished) "
            "&& (!has(self.ttlAfterFinished) || self.ttlAfterFinished == oldSelf.ttlAfterFinished)",
            f"ttlAfterFinished {_ANOTHER}",
        ),
        CLASS_IS_IMMUTABLE,
    )

    job_id: JobId = Field(description="The job, a stateful one. It cannot be changed.")
    class_name: ClassName | None = Field(
        None,
        description="Which operator serves the resource, where there are several: the one of this class; "
        "without it, the one without a class. It cannot be changed.",
    )
    start: Annotated[Instant, Immutable(f"from {_ANOTHER}")] = Field(
        alias="from",
        description="Every whole window from this instant on is run, as the schedule cuts them when the "
        "resource is created. It cannot be changed.",
    )
    end: Annotated[Instant, Immutable(f"to {_ANOTHER}")] = Field(
        alias="to",
        description="The end of the range, exclusive. Nothing is run before it has passed. It cannot be "
        "changed.",
    )
    parallel: int = Field(1, ge=1, le=10000, description="Windows to run in parallel.")
    suspend: bool = Field(False, description="True starts no further windows; those in progress continue.")
    ttl_after_finished: Duration | None = Field(
        None,
        description="The resource is deleted so long after its last window has ended; without it the "
        "resource is kept. It cannot be changed.",
    )

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> BackfillRangeSpec:
        if self.start >= self.end:
            raise ValueError("from must be before to")
        return self
