"""The watch, in its own thread.

kopf assumes that every task of its event loop is its own, cancels unknown tasks when it stops, and takes over
the signals of the main thread. A thread with its own loop isolates it; observations are passed on with
`call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import kopf
import uvloop

from piko.clock import Clock
from piko.observability.logs import get_logger
from piko_operator.cluster_error import REPAIR_NAMESPACE
from piko_operator.handlers import REFUSED, watch_registry
from piko_operator.inventory import PLURALS, Inventory, seen_from
from piko_operator.metrics import OperatorMetrics
from piko_operator.tenancy import serves

_STOP_S = 8.0
_REMEDY = f"changes in this namespace are seen by the next sweep, if it may list there; {REPAIR_NAMESPACE}"

log = get_logger(__name__)


class Watch:
    """Feeds the inventory of each kind with the changes that the API server reports."""

    name = "watch"

    def __init__(
        self,
        *,
        clock: Clock,
        inventories: Mapping[str, Inventory],
        listed: asyncio.Event,
        metrics: OperatorMetrics,
        namespaces: Sequence[str],
        class_name: str | None,
    ) -> None:
        self._clock = clock
        self._inventories = inventories
        self._listed = listed
        self._metrics = metrics
        self._namespaces = tuple(namespaces)
        self._class_name = class_name
        self._asked_at: dict[str, float] = {}
        self._watched: set[str] = set()
        self._refused: set[str] = set()

    @property
    def still_for_s(self) -> float:
        """Seconds since the watch that has been still the longest asked the API server for anything.

        May be read from any thread.
        """
        now = self._clock.monotonic()
        return max((now - at for at in list(self._asked_at.values())), default=0.0)

    def _note_request(self, path: str, is_watch: bool) -> None:
        if not path.endswith(tuple(PLURALS.values())):
            return
        self._asked_at[path] = self._clock.monotonic()
        if is_watch:
            self._watched.add(path)
        elif path in self._watched:  # the API server could not say what had changed since
            self._watched.remove(path)
            log.info("watch_listed_again", path=path)

    def _bears(self, path: str) -> bool:
        """Whether the watch goes on although `path` was refused: if that is one of several namespaces."""
        is_bearable = len(self._namespaces) > 1 and path.endswith(tuple(PLURALS.values()))
        if is_bearable and path not in self._refused:
            self._refused.add(path)
            log.warning("namespace_not_watched", path=path, remedy=_REMEDY)
        return is_bearable

    async def run(self) -> None:
        """Watch until cancelled. Raises the error that stopped kopf, if it stops by itself."""
        # kopf serves only definitions that exist when it starts; a listing proves that they do.
        await self._listed.wait()
        loop = asyncio.get_running_loop()
        stop = threading.Event()
        ended: asyncio.Future[None] = loop.create_future()

        def observe(body: Mapping[str, Any], deleted: bool) -> None:
            loop.call_soon_threadsafe(self._observe, body, deleted)

        registry = watch_registry(observe=observe, asked=self._note_request, bears=self._bears)

        def main() -> None:
            failure: BaseException | None = None
            try:
                uvloop.run(self._operate(stop, registry))
            except BaseException as error:  # noqa: BLE001 raised again in the waiting task
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, ended, failure)

        thread = threading.Thread(target=main, name="watch", daemon=True)
        thread.start()
        try:
            await asyncio.shield(ended)
            self._asked_at.clear()
            self._watched.clear()
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([ended], timeout=_STOP_S)
            raise
        raise RuntimeError("the watch ended unexpectedly")

    async def _operate(self, stop: threading.Event, registry: kopf.OperatorRegistry) -> None:
        logging.getLogger("kopf._cogs.clients.watching").addFilter(_is_news)
        os.environ.setdefault("POD_ID", f"piko-operator-{os.getpid()}")  # otherwise kopf needs a passwd entry
        await kopf.operator(
            registry=registry,
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
        )

    def _observe(self, body: Mapping[str, Any], deleted: bool) -> None:
        self._metrics.last_event.set_to_current_time()
        if not serves(body.get("spec") or {}, self._class_name):
            return
        inventory, metadata = self._inventories[body["kind"]], body["metadata"]
        if deleted:
            inventory.deleted(metadata["uid"])
        elif inventory.at_version(metadata["uid"], metadata.get("resourceVersion", "")) is None:
            inventory.observe(seen_from(body, kind=body["kind"]))


def _is_news(line: logging.LogRecord) -> bool:
    """Whether a line of kopf's says more than `namespace_not_watched`, which is said once."""
    return REFUSED not in line.getMessage()


def _settle(future: asyncio.Future[None], failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None or isinstance(failure, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
        future.set_result(None)
    else:
        future.set_exception(failure)
