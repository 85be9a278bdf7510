"""The resources at the API server: where they are, how they are listed, how their finalizer comes off.

What carries the calls is the caller's: the operator's client, or `kubectl proxy` for a person.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

from piko.api_path import api_path
from piko_operator.cluster_error import ClusterError
from piko_operator.inventory import PLURALS, Seen, seen_from
from piko_operator.resources import FINALIZER, GROUP, VERSION

_PAGE = 100
"""Resources in one answer; each may have more than a megabyte."""
FINALIZERS = "/metadata/finalizers"
MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
JsonPatch = Sequence[Mapping[str, Any]]
Known = Callable[[str, str], Seen | None]


class KubernetesApi(Protocol):
    """What carries a call to the API server."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | JsonPatch | None = None,
    ) -> Any:
        """The JSON of the answer. A PATCH with a list is a JSON patch. Raises `ClusterError`."""
        ...


def resource_path(kind: str, *, namespace: str | None = None, name: str | None = None) -> str:
    """The path of a resource, or of all in a namespace or in the cluster. Raises `ValueError`."""
    scope = () if namespace is None else ("namespaces", namespace)
    return api_path("apis", GROUP, VERSION, *scope, PLURALS[kind], *(() if name is None else (name,)))


def nothing_known(_uid: str, _version: str) -> None:
    """No resource is known in any version."""


async def pages(
    api: KubernetesApi, kind: str, *, namespace: str | None, known: Known = nothing_known
) -> AsyncIterator[list[Seen]]:
    """The resources of `kind` in `namespace` (None: in all), a page at a time. Raises `ClusterError`.

    `known` gives the resource of a uid and resourceVersion where nothing of it would be news.
    """
    token = ""
    while True:
        query = [("limit", str(_PAGE))] + ([("continue", token)] if token else [])
        page = await api.call("GET", resource_path(kind, namespace=namespace), query=query)
        versions = [
            (item["metadata"]["uid"], item["metadata"].get("resourceVersion", "")) for item in page["items"]
        ]
        yield [
            known(*version) or seen_from(item, kind=kind)
            for item, version in zip(page["items"], versions, strict=True)
        ]
        token = page["metadata"].get("continue", "")
        if not token:
            return


async def patch_metadata(api: KubernetesApi, seen: Seen, steps: JsonPatch) -> dict[str, Any]:
    """Patch the object that was seen, and no later one of its name. Raises `ClusterError`."""
    body = [{"op": "test", "path": "/metadata/uid", "value": seen.uid}, *steps]
    path = resource_path(seen.kind, namespace=seen.namespace, name=seen.name)
    return dict(await api.call("PATCH", path, body=body))


def without_finalizer(finalizers: Sequence[str], *, deleting: bool) -> JsonPatch:
    """The patch that removes Piko's finalizer from an object that has exactly these."""
    steps: list[Mapping[str, Any]] = [
        {"op": "test", "path": FINALIZERS, "value": list(finalizers)},
        {"op": "remove", "path": f"{FINALIZERS}/{finalizers.index(FINALIZER)}"},
    ]
    if deleting and len(finalizers) == 1:
        # The object goes with this very write: the API server need not work out who has set what of it.
        steps.append({"op": "add", "path": "/metadata/managedFields", "value": [{}]})
    return steps


async def let_go(api: KubernetesApi, seen: Seen) -> dict[str, Any] | None:
    """Remove Piko's finalizer and no other; the object as it was left, None if it is deleted already.

    Raises `ClusterError`, with 422 if the finalizers are no longer those that were seen.
    """
    try:
        return await patch_metadata(api, seen, without_finalizer(seen.finalizers, deleting=seen.deleting))
    except ClusterError as error:
        if error.status != 404:
            raise
        return None
