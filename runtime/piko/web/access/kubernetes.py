"""`web_access = kubernetes`: the API server says whose a token is, and what they may do.

A TokenReview names the user of a token. SubjectAccessReviews ask for Piko's two kinds in one namespace: to
`get` both makes a viewer, to `patch` both makes an operator. Answers are kept for some seconds, so that a
page does not ask for each of its requests; a token that was revoked meanwhile is refused after that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers

from piko.clock import Clock
from piko.errors import TransientError
from piko.leadership.api_server import ApiServer
from piko.web.access.roles import UNKNOWN, Caller, Role, bearer

_KEPT_S = 10.0
_MOST_KEPT = 1000
_KINDS = ("pikoschedules", "pikojobconfigs")
_GROUP = "piko.dev"
_CREATED = (200, 201)
_TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 a path
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class ReviewError(TransientError):
    """The API server did not review a token or an access."""


class Kubernetes:
    """Knows callers by their tokens of the cluster, and their rights in `namespace`."""

    def __init__(self, *, api: ApiServer, namespace: str, clock: Clock) -> None:
        self._api = api
        self._namespace = namespace
        self._clock = clock
        self._kept: dict[str, tuple[float, Caller]] = {}

    async def caller(self, headers: Headers, _client: str) -> Caller:
        token = bearer(headers)
        if token is None:
            why = "send a token of this cluster as `Authorization: Bearer …` or as `Piko-Token`"
            return Caller(who=UNKNOWN, role=Role.NOBODY, why_not=why)
        digest, now = hashlib.sha256(token.encode()).hexdigest(), self._clock.monotonic()
        kept = self._kept.get(digest)
        if kept is not None and now - kept[0] < _KEPT_S:
            return kept[1]
        found = await self._reviewed(token)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[digest] = now, found
        return found

    async def close(self) -> None:
        await self._api.close()

    async def _reviewed(self, token: str) -> Caller:
        status = await self._ask(_TOKEN_REVIEWS, "authentication.k8s.io/v1", "TokenReview", {"token": token})
        if not status.get("authenticated"):
            why = "the API server does not know the token, or it was revoked"
            return Caller(who=UNKNOWN, role=Role.NOBODY, why_not=why)
        user = status["user"]
        who = str(user.get("username"))
        where = f"in namespace {self._namespace}"
        if not await self._may("get", user):
            why = f"{who} may not get {' and '.join(_KINDS)} {where}"
            return Caller(who=who, role=Role.NOBODY, why_not=why)
        acts = await self._may("patch", user)
        why = f"{who} may not patch {' and '.join(_KINDS)} {where}"
        return Caller(who=who, role=Role.OPERATOR if acts else Role.VIEWER, why_not=why)

    async def _may(self, verb: str, user: Mapping[str, Any]) -> bool:
        for kind in _KINDS:
            attributes = {"namespace": self._namespace, "verb": verb, "group": _GROUP, "resource": kind}
            asked = {
                "user": user.get("username"),
                "groups": user.get("groups"),
                "uid": user.get("uid"),
                "extra": user.get("extra"),
                "resourceAttributes": attributes,
            }
            status = await self._ask(_ACCESS_REVIEWS, "authorization.k8s.io/v1", "SubjectAccessReview", asked)
            if not status.get("allowed"):
                return False
        return True

    async def _ask(self, path: str, version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": version, "kind": kind, "spec": {k: v for k, v in spec.items() if v is not None}}
        try:
            code, answer = await self._api.call("POST", path, body=body)
            if code not in _CREATED:
                raise ReviewError(
                    f"the API server refused a {kind} with status {code}; the ServiceAccount of this program "
                    "needs `create` on tokenreviews and subjectaccessreviews (ClusterRole "
                    "system:auth-delegator)"
                )
            found: dict[str, Any] = json.loads(answer)["status"]
        except (OSError, ValueError, KeyError) as error:
            raise ReviewError(f"the API server did not answer a {kind}: {type(error).__name__}") from None
        return found
