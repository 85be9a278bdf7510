"""What a handler records and returns, where that is a dict: kept with its run, as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from piko.observability.logs import get_logger
from piko.observability.redaction import hide
from piko.text import repr_text, type_name

LONGEST = 16 * 1024
"""Bytes of JSON that are kept of one result."""

_ENCODER = json.JSONEncoder(default=repr_text, allow_nan=False, ensure_ascii=False)

log = get_logger(__name__)


def kept_result(
    returned: object, recorded: Mapping[str, Any], *, job_id: str, run_id: str, secrets: Collection[str]
) -> str | None:
    """What a run recorded and returned, as JSON without secrets; None if that is nothing.

    - `returned`: what the handler returned; anything but a dict is ignored.
    - `recorded`: the facts of `ctx.record`; a name that is returned too has the returned value.
    - `job_id`, `run_id`: the run, for the log.
    - `secrets`: what is hidden.

    A result that cannot be kept never fails its run: what is kept then says why.
    """
    if not recorded and not (isinstance(returned, Mapping) and returned):
        return None
    try:
        text = _ENCODER.encode({**recorded, **(returned if isinstance(returned, Mapping) else {})})
    except Exception as error:  # noqa: BLE001 - the values are user code, and so is what they raise
        return _not_kept(f"it is not JSON: {type_name(error)}", job_id=job_id, run_id=run_id)
    if secrets:
        text = hide(text, secrets)
    size = len(text.encode(errors="backslashreplace"))
    if size > LONGEST:
        why = f"it has {size} bytes of JSON, and at most {LONGEST} are kept"
        return _not_kept(why, job_id=job_id, run_id=run_id)
    return _stored(text)


def _not_kept(why: str, *, job_id: str, run_id: str) -> str:
    log.warning("result_not_kept", job_id=job_id, run_id=run_id, why=why)
    return json.dumps({"not_kept": why})


def _stored(text: str) -> str:
    """`text` without what no database stores: lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text
