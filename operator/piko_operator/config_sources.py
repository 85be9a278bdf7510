"""The merged content of the Secrets and ConfigMaps that `configFrom` of a PikoJobConfig names.

No message here contains a value.
"""

from __future__ import annotations

from typing import Any

from piko.errors import InputError, PikoError
from piko.json_object import BYTES, check_json, merged, read_object
from piko_operator.cluster_error import ClusterError
from piko_operator.config_spec import KeyRef, to_json
from piko_operator.resources import PikoJobConfig
from piko_operator.source_reader import SourceReader
from piko_operator.sources import Source, SourceKind, referred


class SourceUnavailableError(InputError):
    """A Secret or ConfigMap that `configFrom` names cannot be used; `reason` is that of the condition."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


async def read_sources(resource: PikoJobConfig, *, reader: SourceReader) -> dict[str, Any] | None:
    """What all `configFrom` entries hold, merged in order, objects within objects too; None without them.

    Raises `SourceUnavailableError` with the remedy, and `ClusterError` if the API server is unavailable.
    """
    references = referred(resource)
    if not references:
        return None
    found: dict[str, Any] = {}
    for index, (source, reference) in enumerate(references):
        found = merged(found, await _object(index, source, reference, reader))
    try:
        check_json(found)
    except ValueError as error:
        raise _unavailable(references[-1][0].kind, f"spec.configFrom: {error}") from None
    if len(to_json(found).encode()) > BYTES:
        message = f"spec.configFrom has more than {BYTES} bytes in total; name fewer sources"
        raise _unavailable(references[-1][0].kind, message)
    return found


async def _object(index: int, source: Source, reference: KeyRef, reader: SourceReader) -> dict[str, Any]:
    where = f"spec.configFrom[{index}]: {source.kind.word} {source.namespace}/{source.name}"
    try:
        data = await reader.read(source)
    except ClusterError as error:
        raise _unreadable(where, source.kind, error) from None
    if reference.key not in data:
        raise _unavailable(
            source.kind,
            f"{where} has no key {reference.key!r}; add the key, or correct {source.kind.field}.key",
        )
    place = f"{where}, key {reference.key!r}:"
    try:
        text = data[reference.key].decode()
    except UnicodeDecodeError:
        expected = "text" if reference.path else "an object"
        raise _unavailable(source.kind, f"{place} is not UTF-8 text; expected {expected}") from None
    if reference.path is not None:
        return _at(reference.path, text)
    try:
        return read_object(text)
    except ValueError as error:
        example = ', such as {"password": "…"}; for a plain text, set path' if _no_object(error) else ""
        raise _unavailable(source.kind, f"{place} {error}{example}") from None


def _at(path: str, text: str) -> dict[str, Any]:
    """The object that holds `text` at `path`, and nothing else."""
    value: Any = text
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def _unreadable(where: str, kind: SourceKind, error: ClusterError) -> PikoError:
    if error.status == 404:
        return _unavailable(kind, f"{where} does not exist; create it, or correct {kind.field}.name")
    if error.status == 403:
        return _unavailable(
            kind,
            f"{where} may not be read by the operator; "
            f"allow its ServiceAccount to get {kind.plural} in this namespace",
        )
    return error


def _unavailable(kind: SourceKind, message: str) -> SourceUnavailableError:
    return SourceUnavailableError(message, reason=kind.reason)


def _no_object(error: ValueError) -> bool:
    return str(error).endswith("an object")
