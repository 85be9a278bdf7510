"""Answers the API server over TLS.

A request that this cannot make sense of, or that fails in a way that nobody expected, is let through with a
warning: the operator reports the same of the resource later, as a condition.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from aiohttp import web

from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko.store.reports.overview import JobReport, Overview
from piko_operator.admission.review import ReviewAnswer, check_form, response, review
from piko_operator.admission.trust import Trust
from piko_operator.metrics import OperatorMetrics
from piko_operator.nesting import read_answer
from piko_operator.tenancy import Tenant

PATH = "/admission"
FORM_PATH = "/form"
"""Asked before the definitions look at a resource, so that what they refuse is refused in plain words."""
_LARGEST = 8 * 1024 * 1024
"""Bytes of a request, which holds a resource twice; the API server stores 1.5 MiB."""
_READ_S = 1.0
"""How long an answer waits for what the database has of a job."""

T = TypeVar("T")

log = get_logger(__name__)


class AdmissionServer:
    """The webhook of one replica."""

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: OperatorMetrics,
        overview: Overview,
        trust: Trust,
        class_name: str | None,
        tenants: Sequence[Tenant],
        zone: str,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._overview = overview
        self._trust = trust
        self._class_name = class_name
        self._tenants = tenants
        self._zone = zone
        application = web.Application(client_max_size=_LARGEST)
        application.router.add_post(PATH, self._reviewed)
        application.router.add_post(FORM_PATH, self._formed)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)

    async def start(self, listening: socket.socket) -> None:
        """Answer at `listening` until `close`."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening, ssl_context=self._trust.context).start()

    async def close(self) -> None:
        """Let the requests in progress end, and stop."""
        await self._runner.cleanup()

    async def _reviewed(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._review)

    async def _formed(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._form)

    async def _answer(
        self, request: web.Request, decide: Callable[[dict[str, Any]], Awaitable[ReviewAnswer]]
    ) -> web.Response:
        try:
            asked: dict[str, Any] = read_answer(await request.read())["request"]
            uid = str(asked["uid"])
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400, text="expected an AdmissionReview of admission.k8s.io/v1")
        try:
            answer = await decide(asked)
        except Exception as error:  # it must not keep a resource from being applied
            log.error("admission_failed", uid=uid, exc_info=error)
            answer = ReviewAnswer(
                warnings=["not checked before it was applied; see the conditions of the resource"]
            )
        # What has a form is counted when it is reviewed.
        if request.path == PATH or answer.refusal is not None:
            self._metrics.admissions.labels("refused" if answer.refusal else "allowed").inc()
        return web.json_response(response(uid, answer))

    async def _form(self, asked: dict[str, Any]) -> ReviewAnswer:
        return check_form(asked, class_name=self._class_name)

    async def _review(self, asked: dict[str, Any]) -> ReviewAnswer:
        return await review(
            asked,
            class_name=self._class_name,
            tenants=self._tenants,
            schema=self._schema,
            known=self._known,
            zone=self._zone,
            now=self._clock.now(),
        )

    async def _schema(self, job_id: str) -> str | None:
        schemas = await _soon(self._overview.schemas([job_id]))
        return None if schemas is None else schemas.get(job_id)

    async def _known(self, job_id: str) -> JobReport | None:
        return await _soon(self._overview.job(job_id))


async def _soon(reading: Awaitable[T]) -> T | None:
    """What is read; None if that takes long or cannot be, and then a condition says it later."""
    try:
        async with asyncio.timeout(_READ_S):
            return await reading
    except (DatabaseUnavailableError, TimeoutError):
        return None
