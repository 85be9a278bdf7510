"""The merged content of the Secrets that `configFrom` of a PikoJobConfig names.

No message here contains a value.
"""

from __future__ import annotations

from typing import Any

from piko.errors import InputError, PikoError
from piko.json_object import BYTES, read_object
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.config_spec import to_json
from piko_operator.resources import PikoJobConfig


class SecretUnavailableError(InputError):
    """A Secret that `configFrom` names cannot be used."""


async def read_secrets(resource: PikoJobConfig, *, cluster: Cluster) -> dict[str, Any] | None:
    """The objects under all `configFrom` keys, merged in order; None without `configFrom`.

    Raises `SecretUnavailableError` with the remedy, and `ClusterError` if the API server is unavailable.
    """
    if not resource.spec.config_from:
        return None
    merged: dict[str, Any] = {}
    for index, source in enumerate(resource.spec.config_from):
        reference = source.secret_key_ref
        where = f"spec.configFrom[{index}]: secret {resource.metadata.namespace}/{reference.name}"
        try:
            text = await cluster.secret_text(
                namespace=resource.metadata.namespace, name=reference.name, key=reference.key
            )
        except KeyError:
            raise SecretUnavailableError(
                f"{where} has no key {reference.key!r}; add the key, or correct secretKeyRef.key"
            ) from None
        except ClusterError as error:
            raise _unreadable(where, error) from None
        except ValueError:
            raise _refused(where, reference.key, "is not UTF-8 text; expected an object") from None
        try:
            merged |= read_object(text)
        except ValueError as error:
            raise _refused(where, reference.key, str(error)) from None
    if len(to_json(merged).encode()) > BYTES:
        raise SecretUnavailableError(
            f"spec.configFrom has more than {BYTES} bytes in total; name fewer Secrets"
        )
    return merged


def _unreadable(where: str, error: ClusterError) -> PikoError:
    if error.status == 404:
        return SecretUnavailableError(f"{where} does not exist; create it, or correct secretKeyRef.name")
    if error.status == 403:
        return SecretUnavailableError(
            f"{where} may not be read by the operator; "
            "allow its ServiceAccount to get secrets in this namespace"
        )
    return error


def _refused(where: str, key: str, why: str) -> SecretUnavailableError:
    example = ', such as {"password": "…"}' if why.endswith("an object") else ""
    return SecretUnavailableError(f"{where}, key {key!r}: {why}{example}")
