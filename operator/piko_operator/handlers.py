"""The handlers that kopf calls. They only feed the watch.

kopf provides the listing, the watch and its reconnects. It keeps no state on the objects: no handler here
makes kopf hold a finalizer or write progress, so a new object costs two patches (Piko's finalizer and its
status) and a change costs one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import kopf

from piko_operator.api_session import MANAGER
from piko_operator.resources import GROUP, VERSION
from piko_operator.shallow_response import ShallowResponse

_FORBIDDEN = 403
REFUSED = "may not be listed or watched"
"""What kopf is answered, and says in its log at each try."""

Observer = Callable[[Mapping[str, Any], bool], None]
Asked = Callable[[str, bool], None]


def watch_registry(*, observe: Observer, asked: Asked, bears: Callable[[str], bool]) -> kopf.OperatorRegistry:
    """Handlers that pass every object to `observe`, with whether it was deleted.

    - `asked`: is called with the path of each request to the API server, and whether it is for a watch.
    - `bears`: is called with the path of each request that was refused for want of a right. If it answers
      yes, the path is asked for again and again; otherwise kopf ends, and with it all watches.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        prefix = "operator.piko.dev"
        settings.persistence.finalizer = f"{prefix}/unused"
        settings.persistence.progress_storage = _NoProgress()
        settings.persistence.diffbase_storage = _NoEssence()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.watching.chunk_size = 100
        settings.watching.server_timeout = 30  # each watch asks again that often, which shows that it moves
        settings.watching.client_timeout = 40
        settings.networking.request_timeout = 10
        settings.queueing.worker_limit = None  # a limit below the number of objects blocks the start forever

    @kopf.on.login(registry=registry)
    async def log_in(**arguments: Any) -> kopf.AiohttpSession | None:
        found = await kopf.login_via_async_client(**arguments)
        return None if found is None else watch_session(found, asked=asked, bears=bears)

    @kopf.on.event(GROUP, VERSION, "pikoschedules", registry=registry)
    @kopf.on.event(GROUP, VERSION, "pikojobconfigs", registry=registry)
    @kopf.on.event(GROUP, VERSION, "pikobackfills", registry=registry)
    async def seen(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 kopf passes it by this name
        observe(dict(body), type == "DELETED")

    return registry


class _NoEssence(kopf.DiffBaseStorage):
    """Keeps nothing to compare an object with: no handler asks, and kopf would copy each object for it."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: the one there is ends at once."""

    def fetch(self, **_: Any) -> kopf.ProgressRecord | None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def watch_session(
    found: kopf.ConnectionInfo, *, asked: Asked, bears: Callable[[str], bool]
) -> kopf.AiohttpSession:
    """kopf's session, with responses that truncate deeply nested resources; kopf closes it.

    `asked` and `bears` are those of `watch_registry`.
    """
    trace = aiohttp.TraceConfig()

    async def note(_session: object, _context: object, request: aiohttp.TraceRequestStartParams) -> None:
        asked(request.url.path, "watch" in request.url.query)

    async def look(_session: object, _context: object, request: aiohttp.TraceRequestEndParams) -> None:
        if request.response.status == _FORBIDDEN and bears(request.url.path):
            request.response.close()
            # To kopf, a broken connection concerns one watch, a refusal all of them.
            raise aiohttp.ClientConnectionError(f"{request.url.path} {REFUSED}")

    trace.on_request_start.append(note)
    trace.on_request_end.append(look)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
        headers={**(found.as_http_headers() or {}), "User-Agent": MANAGER},
        proxy=found.proxy_url,
        trust_env=found.trust_env,
        response_class=ShallowResponse,
        trace_configs=[trace],
    )
    return kopf.AiohttpSession(
        server=found.server,
        default_namespace=found.default_namespace,
        expiration=found.expiration,
        priority=found.priority,
        aiohttp_session=session,
    )
