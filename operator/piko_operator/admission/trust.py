"""Keeps the certificate of the webhook, and has the API server trust it.

All replicas serve one certificate, which a Secret holds. Whichever replica finds it missing or old makes
another, on the condition that the Secret is as it was read, so that of several replicas one succeeds. The API
server knows of a new authority before any replica serves what it has signed.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from pathlib import Path
from typing import Any

from piko.api_path import api_path
from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.observability.logs import get_logger
from piko_operator.admission.certificates import RENEWED_BEFORE_END, Certificate, make_certificate
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError

_LOOK_S = 60.0
_BACKOFF = Backoff(first_s=0.5, longest_s=30.0)
_FILES = ("tls.crt", "tls.key", "ca.crt")

log = get_logger(__name__)


class Trust:
    """The certificate that the webhook serves; `context` is for its server."""

    name = "admission certificate"

    def __init__(
        self, *, cluster: Cluster, clock: Clock, namespace: str, service: str, configuration: str
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._secret = api_path("api", "v1", "namespaces", namespace, "secrets", service)
        self._reviews, self._forms = (
            api_path("apis", "admissionregistration.k8s.io", "v1", kind, configuration)
            for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
        )
        self._server_name = f"{service}.{namespace}.svc"
        self._served: Certificate | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._trouble: str | None = None

    async def run(self) -> None:
        """Look after the certificate until cancelled."""
        away = Transient(errors=(ClusterError,), report=self._failed, backoff=_BACKOFF)
        await repeat(self.look, pause_s=_LOOK_S, transient=[away])

    async def look(self) -> None:
        """Renew the certificate if that is due, and serve the present one. Raises `ClusterError`."""
        secret = await self._cluster.get(self._secret)
        kept = _kept(secret)
        if kept is None or not self._is_good(kept):
            kept = await self._renew(secret, b"" if kept is None else kept.authorities)
        await self._have_trusted(kept, self._reviews)
        if kept != self._served:
            self._serve(kept)
        # Last: without it, what has no usable form is refused all the same, in the words of the definitions.
        await self._have_trusted(kept, self._forms)
        self._trouble = None

    def _is_good(self, kept: Certificate) -> bool:
        try:
            fresh = kept.expires_at - RENEWED_BEFORE_END > self._clock.now()
            return fresh and kept.is_for(self._server_name)
        except ValueError:
            return False

    async def _renew(self, secret: dict[str, Any], previous: bytes) -> Certificate:
        made = make_certificate([self._server_name], now=self._clock.now(), previous=previous)
        values = (made.certificate, made.key, made.authorities)
        data = {name: base64.b64encode(value).decode() for name, value in zip(_FILES, values, strict=True)}
        # The version makes the server refuse this if another replica has been quicker.
        version = secret["metadata"]["resourceVersion"]
        await self._cluster.merge(self._secret, {"metadata": {"resourceVersion": version}, "data": data})
        log.info("admission_certificate_made", expires_at=made.expires_at.isoformat())
        return made

    async def _have_trusted(self, kept: Certificate, path: str) -> None:
        configuration = await self._cluster.get(path)
        bundle = base64.b64encode(kept.authorities).decode()
        webhooks = configuration.get("webhooks") or []
        if all(item["clientConfig"].get("caBundle") == bundle for item in webhooks):
            return
        for item in webhooks:
            item["clientConfig"]["caBundle"] = bundle
        version = configuration["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "webhooks": webhooks}
        await self._cluster.merge(path, body)
        log.info(
            "admission_certificate_trusted",
            kind=configuration["kind"],
            configuration=configuration["metadata"]["name"],
        )

    def _serve(self, kept: Certificate) -> None:
        with tempfile.TemporaryDirectory() as folder:  # Python loads a key from a file only
            certificate, key = Path(folder) / "tls.crt", Path(folder) / "tls.key"
            certificate.write_bytes(kept.certificate)
            key.touch(mode=0o600)
            key.write_bytes(kept.key)
            self.context.load_cert_chain(certificate, key)  # for every connection from now on
        self._served = kept

    def _failed(self, error: Exception) -> None:
        if self._trouble != str(error):
            log.error(
                "admission_certificate_not_kept",
                error=str(error),
                hint="until this succeeds resources are applied unchecked (failurePolicy Fail: refused); "
                "allow the operator to get and patch these three objects (the chart's admission.yaml)",
            )
        self._trouble = str(error)


def _kept(secret: dict[str, Any]) -> Certificate | None:
    data = secret.get("data") or {}
    try:
        certificate, key, authorities = (base64.b64decode(data[name]) for name in _FILES)
    except (KeyError, ValueError):
        return None
    return Certificate(certificate=certificate, key=key, authorities=authorities)
