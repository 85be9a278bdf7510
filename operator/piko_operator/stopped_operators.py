"""Waits until no operator acts, by its Lease: client-go's rules, without taking the Lease.

An operator that ends hands its Lease back at once; one that was killed keeps it until it expires. The clocks
of two machines may differ, so a Lease has expired when it has stood unchanged here for its own duration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from piko.api_path import api_path
from piko.clock import Clock
from piko.errors import RefusedError
from piko.leadership.record import LeaseRecord, Observation, record_of
from piko.text import excerpt
from piko_operator.cluster_error import ClusterError
from piko_operator.resource_api import KubernetesApi

_LOOK_S = 1.0
_HOLDER = 300
_MISSING = 404


class OperatorLeases:
    """The Leases of operators as they have been seen so far; each is a namespace and a name, with a slash.

    - `say`: takes what is waited for.
    """

    def __init__(self, *, api: KubernetesApi, clock: Clock, say: Callable[[str], None]) -> None:
        self._api = api
        self._clock = clock
        self._say = say
        self._seen: dict[str, Observation] = {}

    async def held(self, leases: Iterable[str]) -> list[str]:
        """Those of `leases` that are held and have not been seen to expire. Raises `RefusedError`."""
        found = []
        for lease in sorted(set(leases)):
            observation = self._seen.setdefault(lease, Observation())
            observation.see(await self._read(lease), at=self._clock.monotonic())
            if not observation.may_be_taken(by="", at=self._clock.monotonic()):
                found.append(lease)
        return found

    async def until_free(self, leases: Iterable[str], *, wait_s: float) -> None:
        """Return when none of `leases` is held.

        Raises `RefusedError` with the remedy if one still is after `wait_s` seconds, or cannot be read.
        """
        give_up = self._clock.monotonic() + wait_s
        said = False
        while held := await self.held(leases):
            if self._clock.monotonic() >= give_up:
                raise RefusedError("; ".join(self.remedy(lease) for lease in held))
            if not said:
                said = True
                self._say(f"waiting for {', '.join(held)}: an operator holds it, or has left it to expire")
            await asyncio.sleep(_LOOK_S)

    def remedy(self, lease: str) -> str:
        """Who holds the Lease, as it was seen last, and how they are stopped."""
        namespace, _, name = lease.partition("/")
        record = self._seen[lease].record
        holder = excerpt((record and record.holder) or "nobody", limit=_HOLDER)
        return (
            f"Lease {lease} is held by {holder}, an operator that would set the finalizers again: uninstall "
            f"its release first, or stop it: kubectl -n {namespace} scale deployment "
            f"{name.removeprefix('piko-')} --replicas=0"
        )

    async def _read(self, lease: str) -> LeaseRecord | None:
        """What the Lease says; None: there is none. Raises `RefusedError`."""
        namespace, _, name = lease.partition("/")
        try:
            path = api_path("apis", "coordination.k8s.io", "v1", "namespaces", namespace, "leases", name)
            return record_of(await self._api.call("GET", path))
        except (ClusterError, ValueError) as error:
            if isinstance(error, ClusterError) and error.status == _MISSING:
                return None
            raise RefusedError(
                f"Lease {lease} cannot be read, so its operator may be running: {error}"
            ) from None
