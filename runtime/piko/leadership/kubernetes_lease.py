"""The lease as a `coordination.k8s.io/v1` Lease; the epoch is kept in the database.

Leading needs both: a renewal first prolongs the row in `leader_lease`, then the Lease. So a replica that has
lost the database loses the Lease in time to one that has not, and one that has lost the API server stops
leading at its deadline. A Lease is not a fence, as client-go states of its own election; the epoch is the
fence, and it is created in the database after the Lease was acquired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from piko.api_path import api_path
from piko.clock import Clock
from piko.errors import LeaseUnavailableError
from piko.leadership.api_access import find_access, find_kubeconfig_reader, needs_kubeconfig, own_namespace
from piko.leadership.api_server import ApiServer
from piko.leadership.lease import Terms
from piko.leadership.record import LeaseRecord, Observation, held_by, object_name, record_of, released
from piko.model.fences import Fence
from piko.model.instances import Instance
from piko.model.leases import NOBODY, LeaseRow
from piko.text import excerpt

_API = ("apis", "coordination.k8s.io", "v1")
_LOOK_S = 0.3
_SHORTEST_CALL_S = 1.0
_REASON_LIMIT = 500
_DEADLINE = 2 / 3
"""The part of the lease's duration that a leader acts without a renewal: client-go's 10 s of 15 s."""
_CONFLICT, _MISSING = 409, 404
_EXPECTED = {"GET": (_MISSING,), "PUT": (_MISSING, _CONFLICT), "POST": (_CONFLICT,)}
"""Statuses that are answers about the Lease, not errors."""


class LeaseRows(Protocol):
    """Where the epochs are created: `LeaseStore`, or something simpler for a program without a fence."""

    async def read(self, name: str) -> LeaseRow | None: ...

    async def acquire(
        self, name: str, *, holder: str, host: str, lease_s: float, force: bool
    ) -> int | None: ...

    async def renew(self, fence: Fence, *, holder: str, lease_s: float) -> bool: ...

    async def release(self, name: str, *, holder: str) -> None: ...


class KubernetesLease:
    """A lease that is acquired, renewed and released by client-go's rules; see `record`."""

    def __init__(
        self,
        *,
        rows: LeaseRows,
        name: str,
        instance: Instance,
        clock: Clock,
        lease_s: float,
        renew_interval_s: float,
        namespace: str | None = None,
    ) -> None:
        if needs_kubeconfig():
            find_kubeconfig_reader()
        self._rows = rows
        self._name = name
        self._instance = instance
        self._clock = clock
        self._lease_s = lease_s
        self._namespace = namespace or own_namespace()
        self._object = object_name(name)
        self._api = ApiServer(
            find_access=partial(find_access, clock=clock), timeout_s=max(renew_interval_s, 1.0)
        )
        self._observation = Observation()
        look_s = min(_LOOK_S, renew_interval_s)
        self.terms = Terms(valid_s=lease_s * _DEADLINE, renew_every_s=renew_interval_s, look_every_s=look_s)

    async def acquire(
        self, *, force: bool, patient: bool = False, dead: Mapping[str, datetime] = NOBODY
    ) -> int | None:
        row = await self._rows.read(self._name)  # a replica that cannot reach the database does not compete
        # A renewal prolongs the row first, so the row says whether the holder has renewed since.
        left_by = row.holder if row is not None and row.is_left_by(dead) else None
        if not await self._hold(force=force, patient=patient, left_by=left_by):
            return None
        return await self._rows.acquire(
            self._name,
            holder=self._instance.instance_id,
            host=self._instance.host,
            lease_s=self._lease_s,
            force=True,  # the Lease has decided
        )

    async def renew(self, fence: Fence) -> bool:
        if not await self._rows.renew(fence, holder=self._instance.instance_id, lease_s=self._lease_s):
            return False
        held = await self._hold(force=False)
        if held is None:
            raise LeaseUnavailableError(f"{self._what}: was changed concurrently")
        return held

    async def release(self) -> None:
        # The row first: the next holder of the Lease must not find a holder in the row, whose runs it would
        # fence off. If the database is unavailable, the Lease is released all the same.
        try:
            await self._rows.release(self._name, holder=self._instance.instance_id)
        finally:
            record = await self._read()
            if record is not None and record.holder == self._instance.instance_id:
                await self._write(record, released(record, now=self._clock.now()))

    async def close(self) -> None:
        await self._api.close()

    @property
    def _what(self) -> str:
        return f"Lease {self._namespace}/{self._object}"

    async def _hold(self, *, force: bool, patient: bool = False, left_by: str | None = None) -> bool | None:
        """Make this instance the holder if that is allowed; None if the record was changed concurrently.

        A record of the holder `left_by` may be taken before it expires.
        """
        me = self._instance.instance_id
        record = await self._read()
        self._observation.see(record, at=self._clock.monotonic())
        at = None if patient else self._clock.monotonic()
        left = record is not None and left_by is not None and record.holder == left_by
        if not (force or left or self._observation.may_be_taken(by=me, at=at)):
            return False
        spec = held_by(me, record, lease_s=self._lease_s, now=self._clock.now())
        return True if await self._write(record, spec) else None

    async def _read(self) -> LeaseRecord | None:
        status, body = await self._call("GET", self._path)
        return None if status == _MISSING else record_of(body)

    async def _write(self, before: LeaseRecord | None, spec: Mapping[str, Any]) -> bool:
        """Create or replace the Lease; False if it is no longer `before`."""
        metadata: dict[str, Any] = {"name": self._object, "namespace": self._namespace}
        if before is None:
            method, path = "POST", self._collection
            metadata["labels"] = {"app.kubernetes.io/managed-by": "piko"}
        else:
            method, path = "PUT", self._path
            metadata["resourceVersion"] = before.version
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": dict(spec),
        }
        status, _ = await self._call(method, path, body=lease)
        return status not in (_CONFLICT, _MISSING)

    @property
    def _collection(self) -> str:
        return api_path(*_API, "namespaces", self._namespace, "leases")

    @property
    def _path(self) -> str:
        return self._collection + api_path(self._object)

    async def _call(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Status and answer. Raises `LeaseUnavailableError` unless it is a success or in `_EXPECTED`."""
        try:
            status, text = await self._api.call(method, path, body=body)
        except OSError as error:
            raise LeaseUnavailableError(
                f"{self._what}: the API server is not reached: {type(error).__name__} {error}"
            ) from error
        if status in _EXPECTED[method]:
            return status, None
        if not 200 <= status < 300:
            raise LeaseUnavailableError(f"{self._what}: {method} was answered with {status}: {_reason(text)}")
        try:
            return status, json.loads(text)
        except ValueError:
            raise LeaseUnavailableError(f"{self._what}: the answer to {method} is not JSON") from None


def _reason(text: bytes) -> str:
    """The API server's message for a refusal, with the remedy for the most likely one."""
    try:
        reason = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        reason = text.decode(errors="replace")
    reason = excerpt(reason, limit=_REASON_LIMIT)
    if "forbidden" in reason.lower():
        reason += "; its ServiceAccount needs get, create and update on leases.coordination.k8s.io"
    return reason
