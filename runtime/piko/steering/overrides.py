"""Values that one run has instead of those of its job's config: checked before the run is queued.

They are recorded with the run and shown with it, so none of them may be a secret. A key that the job's model
does not have would be ignored silently, so it is refused: usually it is misspelt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from piko.clock import Clock
from piko.errors import RefusedError
from piko.json_object import check_json, merged, read_object
from piko.model.config_schema import hidden
from piko.model.revisions import revision_in_force
from piko.model.schema_keys import key_warning
from piko.store.configs import ConfigStore
from piko.store.engine import Database
from piko.store.reports.overview import Overview
from piko.text import excerpt

MOST_BYTES = 16_384
_MOST_ERRORS = 5


async def checked_overrides(
    database: Database, job_id: str, overrides: Mapping[str, Any], *, clock: Clock
) -> str | None:
    """`overrides` as the run's row holds them; None if there are none.

    Raises `RefusedError` if the config in force does not fit the job's model with them, or one is a secret.
    """
    if not overrides:
        return None
    text = _text(job_id, overrides)
    schema_text = (await Overview(database=database).schemas([job_id])).get(job_id)
    if schema_text is None:
        return text  # the job takes any object
    schema: dict[str, Any] = json.loads(schema_text)
    if hidden(overrides, schema) != overrides:
        raise RefusedError(
            f"{job_id}: a value that its model declares secret cannot be overridden, because overrides are "
            "recorded with the run; change secret_json of job_config instead"
        )
    if (unknown := key_warning(schema, overrides)) is not None:
        raise RefusedError(f"{job_id}: config overrides: {unknown}")
    document = merged(await _config_now(database, job_id, clock), overrides)
    _fits(job_id, document, schema, overrides)
    return text


def _text(job_id: str, overrides: Mapping[str, Any]) -> str:
    try:
        check_json(overrides)
        text = json.dumps(overrides, ensure_ascii=False)
    except ValueError as error:
        raise RefusedError(f"{job_id}: config overrides: {error}") from None
    if (size := len(text.encode())) > MOST_BYTES:
        raise RefusedError(f"{job_id}: config overrides have {size:,} bytes; expected at most {MOST_BYTES:,}")
    return text


async def _config_now(database: Database, job_id: str, clock: Clock) -> dict[str, Any]:
    known = await ConfigStore(database=database).revisions([job_id])
    current = revision_in_force(known, clock.now())
    if current is None:
        return {}
    if current.secret_unreadable is not None:
        raise RefusedError(f"{job_id}: its config cannot be checked: {current.secret_unreadable}")
    secret = {} if current.secret_json is None else read_object(current.secret_json)
    return merged(read_object(current.config_json), secret)


def _fits(
    job_id: str, document: Mapping[str, Any], schema: Mapping[str, Any], overrides: Mapping[str, Any]
) -> None:
    from jsonschema import Draft202012Validator

    problems = []
    for error in islice(Draft202012Validator(schema).iter_errors(document), _MOST_ERRORS):
        # The message may show the value at the path: only what the person wrote just now is shown.
        theirs = bool(error.absolute_path) and error.absolute_path[0] in overrides
        what = error.message if theirs else f"does not fit ({error.validator})"
        problems.append(f"{error.json_path.removeprefix('$.')}: {what}")
    if problems:
        raise RefusedError(
            excerpt(f"{job_id}: with these overrides its config does not fit: {'; '.join(problems)}")
        )
