"""The web service of a release, through the API server: with a kubeconfig and `get` on `services/proxy`.

The proxy lets through what reads this one service. The API server keeps the user's own credentials to
itself; a token of Piko, where `web_access` asks for one, travels in the header `Piko-Token`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from piko.cli.kubectl_calls import Kubectl, KubectlError
from piko.cli.kubectl_proxy import SocketConnection, proxied
from piko.errors import DatabaseUnavailableError, NotFoundError, PikoError, RefusedError

TOKEN = "KUBECTL_PIKO_TOKEN"  # noqa: S105 the variable's name
"""The environment variable with a token of Piko."""
_SELECTED = ("-l", "piko.dev/component=web")
_SWITCH = "web.enabled"
_PROBLEM = "application/problem+json"
_NOBODY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class WebUnavailableError(PikoError):
    """The web service cannot be asked: it is not installed, not reached, or refuses the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebService:
    """The Service of a release."""

    namespace: str
    name: str
    release: str

    @property
    def path(self) -> str:
        """Where the API server has it."""
        return f"/api/v1/namespaces/{self.namespace}/services/{self.name}:http/proxy"


def web_service(kubectl: Kubectl, *, release: str | None) -> WebService:
    """That of the release in the user's namespace. Raises what `choose_service` raises."""
    try:
        found = kubectl.asked(["get", "services", *_SELECTED])
    except KubectlError as error:
        raise WebUnavailableError(str(error)) from error
    return choose_service(found["items"], release=release)


def web_services(kubectl: Kubectl, *, release: str | None) -> list[WebService]:
    """Those of all releases in the cluster, or of those that are called `release`, by namespace.

    Raises `RefusedError`, and `NotFoundError` if there is none.
    """
    try:
        items = kubectl.asked(["get", "services", "-A", *_SELECTED])["items"]
    except KubectlError as error:
        raise RefusedError(f"{error}; without -A it reads in one namespace: -n") from None
    found = [_service(item) for item in items]
    chosen = [item for item in found if release in (None, item.release)]
    if not chosen:
        raise NotFoundError(f"no web service is in any namespace (`{_SWITCH}` of the chart)")
    return sorted(chosen, key=lambda item: (item.namespace, item.release))


def choose_service(items: Sequence[Mapping[str, Any]], *, release: str | None) -> WebService:
    """The web service of the release, among Services as the API server lists them.

    Raises `WebUnavailableError`, and `RefusedError` if there are several.
    """
    found = [_service(item) for item in items]
    chosen = [item for item in found if release in (None, item.release)]
    if not chosen:
        raise WebUnavailableError(f"no web service is in this namespace (`{_SWITCH}` of the chart)")
    if len(chosen) > 1:
        releases = ", ".join(sorted(item.release for item in chosen))
        raise RefusedError(f"several releases are in this namespace: {releases}; give --release")
    return chosen[0]


def _service(item: Mapping[str, Any]) -> WebService:
    meta = item["metadata"]
    release = (meta.get("labels") or {}).get("app.kubernetes.io/instance", "")
    return WebService(namespace=meta["namespace"], name=meta["name"], release=release)


@contextmanager
def reached(kubectl: Kubectl, service: WebService) -> Iterator[WebApi]:
    """The API of the service, while the context lasts. Raises `WebUnavailableError`."""
    accept = f"^{re.escape(service.path)}/api/v1/"
    try:
        with proxied(kubectl, accept=accept, reject="^(POST|PUT|PATCH|DELETE)$") as where:
            yield WebApi(socket_path=where, prefix=f"{service.path}/api/v1", token=os.environ.get(TOKEN))
    except KubectlError as error:
        raise WebUnavailableError(str(error)) from error


class WebApi:
    """Reads of `/api/v1`."""

    def __init__(self, *, socket_path: Path, prefix: str, token: str | None) -> None:
        self._socket_path = socket_path
        self._has_answered = False
        self._prefix = prefix
        self._headers = {"Accept": "application/json", **({} if token is None else {"Piko-Token": token})}

    def get(self, *path: str, **query: object) -> Any:
        """The JSON at `path`, whose parts are quoted; a filter that is None is left out, a list repeats it.

        Raises `NotFoundError`, `RefusedError` and `DatabaseUnavailableError` with the words of the service,
        and `WebUnavailableError`.
        """
        given = {name: value for name, value in query.items() if value not in (None, [], ())}
        target = "/".join([self._prefix, *(quote(part, safe=":") for part in path)])
        status, media_type, body = self._answer(
            target + (f"?{urlencode(given, doseq=True)}" if given else "")
        )
        if status == HTTPStatus.OK:
            self._has_answered = True
            return json.loads(body)
        error = _error(status, media_type, body)
        if self._has_answered and isinstance(error, WebUnavailableError):
            raise RefusedError(str(error))  # something may be shown already, so nothing is begun again
        raise error

    def _answer(self, target: str) -> tuple[int, str, bytes]:
        connection = SocketConnection(self._socket_path)
        try:
            connection.request("GET", target, headers=self._headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get_content_type(), answer.read()
        except (OSError, HTTPException) as error:
            raise WebUnavailableError(f"kubectl proxy: {type(error).__name__} {error}") from error
        finally:
            connection.close()


def _error(status: int, media_type: str, body: bytes) -> PikoError:
    if media_type != _PROBLEM:  # the API server's own
        return WebUnavailableError(f"the API server answers {status}: {_text(body, 'message')}")
    detail = _text(body, "detail")
    if status in _NOBODY:
        return WebUnavailableError(f"the web service refuses you: {detail} (${TOKEN} may hold a token of it)")
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(detail)
    return (
        DatabaseUnavailableError(detail)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else RefusedError(detail)
    )


def _text(body: bytes, name: str) -> str:
    try:
        return str(json.loads(body)[name])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
