"""What the control plane of the tests lacks to reach a Service: the network of nodes.

An API server carries requests to pods, and there are none at the loopback interface, where it refuses to look
for them. This stands before a real one and hands everything to it, except for requests to a Service: whether
the user may make one, it asks the API server; then it carries it to a server of this machine, without the
user's credentials, as an API server does.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from tests.harness.control_plane import ControlPlane
from tests.harness.waiting import PATIENCE_S
from tests.store.certificates import Authority

_TO_SERVICE = re.compile(r"/api/v1/namespaces/([^/]+)/services/([^/]+)/proxy(/.*)")
_ITS_OWN = ("host", "connection", "content-length", "transfer-encoding", "accept-encoding")


@dataclass(slots=True)
class ServiceNetwork:
    """Where it listens, what signed it, and what it carries where; `carried` are the paths that it has."""

    url: str
    ca_file: Path
    backends: dict[str, str] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)


@contextmanager
def service_network(control_plane: ControlPlane, folder: Path) -> Iterator[ServiceNetwork]:
    """An API server, as `control_plane` is, from which Services are reached that have a backend."""
    authority = Authority(folder, "network")
    pair = authority.issue("front", hosts=["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    trust = ssl.create_default_context(cafile=str(control_plane.ca_file))
    with (
        httpx.Client(base_url=control_plane.url, verify=trust, timeout=PATIENCE_S) as real,
        _Front() as front,
    ):
        front.socket = context.wrap_socket(front.socket, server_side=True)
        front.real = real
        front.network = ServiceNetwork(
            url=f"https://localhost:{front.server_address[1]}", ca_file=authority.certificate
        )
        thread = threading.Thread(target=front.serve_forever, name="service-network")
        thread.start()
        try:
            yield front.network
        finally:
            front.shutdown()
            thread.join()


class _Front(ThreadingHTTPServer):
    daemon_threads = True
    real: httpx.Client
    network: ServiceNetwork

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)


class _Request(BaseHTTPRequestHandler):
    server: _Front

    def do_GET(self) -> None:
        match = _TO_SERVICE.fullmatch(self.path)
        if match is None:
            self._hand_over()
        else:
            self._carry(*match.groups())

    def do_POST(self) -> None:
        self._hand_over()

    def do_PATCH(self) -> None:
        self._hand_over()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 its name in the base class
        pass

    def _hand_over(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        answer = self.server.real.request(self.command, self.path, headers=self._given(), content=body)
        self._answer(answer)

    def _carry(self, namespace: str, service: str, rest: str) -> None:
        backend = self.server.network.backends.get(service)
        if not self._may_reach(namespace, service):
            self._refuse(403, f'services "{service}" is forbidden')
        elif backend is None:
            self._refuse(503, f'no endpoints available for service "{service}"')
        else:
            self.server.network.carried.append(rest)
            headers = {name: value for name, value in self._given().items() if name != "authorization"}
            self._answer(httpx.get(backend + rest, headers=headers, timeout=PATIENCE_S))

    def _may_reach(self, namespace: str, service: str) -> bool:
        attributes = {"resource": "services", "subresource": "proxy", "name": service, "verb": "get"}
        review = self.server.real.post(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            json={"spec": {"resourceAttributes": {**attributes, "namespace": namespace}}},
            headers={"Authorization": self.headers["Authorization"]},
        )
        return bool(review.json()["status"]["allowed"])

    def _given(self) -> dict[str, str]:
        given = {name.lower(): value for name, value in self.headers.items()}
        return {name: value for name, value in given.items() if name not in _ITS_OWN}

    def _refuse(self, status: int, message: str) -> None:
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
        self._answer(httpx.Response(status, json={**body, "code": status}))

    def _answer(self, answer: httpx.Response) -> None:
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("content-type", "text/plain"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)
