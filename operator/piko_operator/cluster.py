"""The API server, for everything that the operator does except watching."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from piko.api_path import api_path
from piko.clock import Clock
from piko.text import excerpt, instant_text
from piko_operator.api_session import MANAGER, ApiSession, reaching
from piko_operator.cluster_error import ClusterError
from piko_operator.inventory import Seen, seen_from
from piko_operator.nesting import read_answer
from piko_operator.ownership import Notice
from piko_operator.resource_api import (
    FINALIZERS,
    JSON_PATCH,
    MERGE_PATCH,
    JsonPatch,
    Known,
    let_go,
    nothing_known,
    pages,
    patch_metadata,
    resource_path,
)
from piko_operator.resources import API_VERSION, FINALIZER
from piko_operator.sources import Source, SourceKind
from piko_operator.tenancy import serves

_EVENT_LIMIT = 1_000
_AT_ONCE = 16
_FORBIDDEN = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The resources of one kind.

    - `found`: those that this operator serves.
    - `others`: the uids of those that are of another class.
    - `refused`: by namespace, why those in it could not be listed.
    """

    found: Sequence[Seen]
    others: Collection[str]
    refused: Mapping[str, ClusterError]


class Cluster:
    """Listings, status, finalizers, sources of configs and events. Raises only `ClusterError`."""

    def __init__(
        self,
        *,
        session: ApiSession,
        clock: Clock,
        namespaces: Sequence[str] = (),
        class_name: str | None = None,
        timeout_s: float = 10.0,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._session = session
        self._clock = clock
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._class_name = class_name
        self._timeout_s = timeout_s
        self._may_write = may_write
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def list(self, kind: str, *, known: Known = nothing_known) -> Listing:
        """Every resource of `kind` that this operator serves: in its namespaces, and of its class.

        `known` gives the resource of a uid and resourceVersion where nothing of it would be news.

        One namespace that it may not list, because it or the Role in it does not exist, leaves the others as
        they are. If it may list none of them, the refusal is raised.
        """
        found: list[Seen] = []
        others: set[str] = set()
        refused: dict[str, ClusterError] = {}
        for namespace in self._namespaces or (None,):
            try:
                async for page in pages(self, kind, namespace=namespace, known=known):
                    served = [seen for seen in page if seen.class_name == self._class_name]
                    found += served
                    others.update({seen.uid for seen in page} - {seen.uid for seen in served})
            except ClusterError as error:
                if namespace is None or error.status != _FORBIDDEN:
                    raise
                refused[namespace] = error
        if refused and len(refused) == len(self._namespaces):
            raise refused[self._namespaces[0]]
        return Listing(found=found, others=others, refused=refused)

    async def get(self, path: str) -> dict[str, Any]:
        """The object at `path`."""
        return dict(await self.call("GET", path))

    async def merge(self, path: str, body: Mapping[str, Any]) -> None:
        """Merge `body` into the object at `path`; with a resourceVersion, only if it still has that."""
        await self.call("PATCH", path, body=body)

    async def uid(self) -> str:
        """The identity of this cluster: the uid of its namespace `kube-system`."""
        body = await self.call("GET", api_path("api", "v1", "namespaces", "kube-system"))
        return str(body["metadata"]["uid"])

    async def exists(self, kind: str, *, namespace: str, name: str) -> bool:
        """Whether there is an object of that name that this operator serves."""
        try:
            path = resource_path(kind, namespace=namespace, name=name)
        except ValueError:
            return False  # no object can have that name
        try:
            body = await self.call("GET", path)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return serves(body.get("spec") or {}, self._class_name)

    async def hold(self, seen: Seen) -> Seen:
        """Add Piko's finalizer to the object."""
        where, value = (f"{FINALIZERS}/-", FINALIZER) if seen.finalizers else (FINALIZERS, [FINALIZER])
        # If another finalizer was added meanwhile, the test fails instead of replacing it.
        first = [] if seen.finalizers else [{"op": "test", "path": FINALIZERS, "value": None}]
        body = await patch_metadata(self, seen, [*first, {"op": "add", "path": where, "value": value}])
        return seen_from(body, kind=seen.kind)

    async def let_go(self, seen: Seen) -> None:
        """Remove Piko's finalizer; succeeds if the object is already deleted."""
        await let_go(self, seen)

    async def delete(self, seen: Seen) -> None:
        """Delete the object; succeeds if it is already deleted, or another has its name."""
        path = resource_path(seen.kind, namespace=seen.namespace, name=seen.name)
        try:
            await self.call("DELETE", path, body={"preconditions": {"uid": seen.uid}})
        except ClusterError as error:
            if error.status not in (404, 409):
                raise

    async def patch_status(self, seen: Seen, patch: Mapping[str, Any]) -> Seen:
        path = resource_path(seen.kind, namespace=seen.namespace, name=seen.name) + "/status"
        # The uid makes the server refuse the patch for a later object of the same name.
        body = {"metadata": {"uid": seen.uid}, "status": patch}
        return seen_from(await self.call("PATCH", path, body=body), kind=seen.kind)

    async def content(self, source: Source) -> dict[str, bytes]:
        """What a Secret or ConfigMap holds, by key. Raises `ValueError` if nothing can have its name."""
        path = api_path("api", "v1", "namespaces", source.namespace, source.kind.plural, source.name)
        body = await self.call("GET", path)
        plain, encoded = body.get("data") or {}, body.get("binaryData") or {}
        if source.kind is SourceKind.SECRET:
            plain, encoded = {}, plain
        decoded = {key: base64.b64decode(value) for key, value in encoded.items()}
        return {key: value.encode(errors="surrogatepass") for key, value in plain.items()} | decoded

    async def announce(self, seen: Seen, notice: Notice) -> str:
        """Post an event about the object; returns the event's name."""
        now = self._now()
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{seen.name[:200]}-", "namespace": seen.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": seen.kind,
                "namespace": seen.namespace,
                "name": seen.name,
                "uid": seen.uid,
                "resourceVersion": seen.resource_version,
            },
            "type": notice.type,
            "reason": notice.reason,
            "message": excerpt(notice.message, limit=_EVENT_LIMIT),
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        posted = await self.call("POST", _events(seen), body=body)
        return str(posted["metadata"]["name"])

    async def announce_again(self, seen: Seen, event: str, *, count: int) -> None:
        """Say of the event of that name that it has happened `count` times."""
        body = {"count": count, "lastTimestamp": self._now()}
        await self.call("PATCH", f"{_events(seen)}/{event}", body=body)

    def _now(self) -> str:
        return instant_text(self._clock.now())[:19] + "Z"

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | JsonPatch | None = None,
    ) -> Any:
        """The JSON of the answer. A PATCH with a list is a JSON patch. Raises `ClusterError`."""
        content = "application/json"
        if method == "PATCH":
            content = MERGE_PATCH if isinstance(body, Mapping) else JSON_PATCH
        if method not in ("GET", "DELETE"):
            query = [*query, ("fieldManager", MANAGER)]
        async with self._turn:
            if method != "GET" and not self._may_write():
                raise ClusterError(f"{method} {path}: another replica may act by now", status=0)
            response = await self._session.request(
                method,
                path,
                query=dict(query),
                accept="application/json",
                content=content,
                body=body,
                timeout=self._timeout_s,
            )
            with reaching(method, path):
                text = await response.read()
        if response.status >= 300:
            raise ClusterError.answered(method, path, status=response.status, text=text)
        return read_answer(text)


def _events(seen: Seen) -> str:
    return api_path("api", "v1", "namespaces", seen.namespace, "events")
