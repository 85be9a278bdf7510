"""Which other replica has a job that this one has not registered: another release of its app, or another app.

Replicas with the same `leader_name` take turns in leading, and a leader runs the jobs of its own code. A row
whose job only a standby has registered waits, and its message names that standby.
"""

from __future__ import annotations

from collections.abc import Iterable

from piko.clock import Clock
from piko.model.definitions import DefiningReplica
from piko.model.instances import Instance
from piko.store.definitions import DefinitionStore
from piko.store.instances import HEARTBEATS

_AGAIN_S = 10.0
_MOST = 500
"""Jobs that one query asks for; the others keep the plain message."""


class OtherReplicas:
    """Asks periodically what other living replicas have published."""

    def __init__(
        self,
        *,
        definitions: DefinitionStore,
        instance: Instance,
        clock: Clock,
        heartbeat_interval_s: float,
    ) -> None:
        self._definitions = definitions
        self._instance = instance
        self._clock = clock
        self._within_s = HEARTBEATS * heartbeat_interval_s
        self._asked_at = float("-inf")
        self._asked: frozenset[str] = frozenset()

    async def messages(self, unregistered: Iterable[str]) -> dict[str, str]:
        """A message for each of `unregistered` that another replica has. Empty if it is not time to ask."""
        wanted = frozenset(sorted(unregistered)[:_MOST])
        moment = self._clock.monotonic()
        if not wanted or (wanted == self._asked and moment - self._asked_at < _AGAIN_S):
            return {}
        self._asked, self._asked_at = wanted, moment
        holders = await self._definitions.holders(wanted, within_s=self._within_s)
        return {
            job_id: registered_by(job_id, holder, app=self._instance.app)
            for job_id, holder in holders.items()
            if self._is_another(holder)
        }

    def _is_another(self, holder: DefiningReplica) -> bool:
        # Of this app's own definitions only the replica that published one is known to have it.
        published = holder.app != self._instance.app or holder.published
        return published and holder.instance_id != self._instance.instance_id


def registered_by(job_id: str, holder: DefiningReplica, *, app: str) -> str:
    """The message for a job that `holder` has registered and this replica of `app` has not."""
    who = f"the standby {holder.host!r} of app {holder.app!r} (instance {holder.instance_id})"
    message = f"app {app!r} has not registered the job {job_id!r} here; {who} has, and runs it once it leads"
    if holder.app == app:
        return message
    return f"{message}. Replicas of one leader_name must be of one app: give each app a database of its own"
