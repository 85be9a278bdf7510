"""What a resource says about the row that it finds: the policies that both kinds share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

AdoptionPolicy = Annotated[
    Literal["Refuse", "Adopt"],
    Field(description="When SQL owns the row already: Refuse leaves it, Adopt takes it over."),
]
DriftPolicy = Annotated[
    Literal["Enforce", "Observe"],
    Field(
        description="When SQL edits the row: Enforce puts it back, Observe leaves it until the resource "
        "changes."
    ),
]
