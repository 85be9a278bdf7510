"""Finds the API server and the credentials for it.

In a pod, two environment variables and the files of the ServiceAccount provide them. The kubelet renews the
files, so the token is read again each minute, and the authority's certificate for each new connection.
Outside a pod, a KUBECONFIG provides them. Reading one takes kubernetes-asyncio (merged contexts, commands
that print a token), whose import costs a replica more processor time than all of its other imports, so it is
imported only for that.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from piko.clock import Clock
from piko.errors import LeaseUnavailableError, SettingsError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The folder in which the kubelet puts `token`, `ca.crt` and `namespace` of a pod's ServiceAccount."""
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_TOKEN_AGE_S = 60.0
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAccess:
    """One API server: `host` without brackets, `base` the path that all of its paths follow."""

    host: str
    port: int
    base: str = ""
    tls: Callable[[], ssl.SSLContext] | None
    """Creates the TLS context of a new connection; None means plain HTTP. Raises `OSError`."""
    server_name: str | None = None
    """The name that the server's certificate must have, if it differs from `host`."""
    authorization: Callable[[], str | None]
    """The Authorization header of the next request, or None. Raises `OSError`."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


async def find_access(*, clock: Clock) -> ApiAccess:
    """The cluster that this pod runs in, otherwise the one that KUBECONFIG names.

    Raises `LeaseUnavailableError` with the reasons if there is neither.
    """
    try:
        return access_in_pod(os.environ, SERVICE_ACCOUNT, clock=clock)
    except LeaseUnavailableError as error:
        not_in_pod = error
    return await _access_by_kubeconfig(not_in_pod)


def access_in_pod(environment: Mapping[str, str], folder: Path, *, clock: Clock) -> ApiAccess:
    """The access of a pod, with its ServiceAccount's files in `folder`.

    Raises `LeaseUnavailableError`, which states what is missing or unusable.
    """
    host, port = environment.get(_HOST, ""), environment.get(_PORT, "")
    if not host or not port:
        raise LeaseUnavailableError(f"not in a pod, where {_HOST} and {_PORT} are set")
    if not port.isdecimal():
        raise LeaseUnavailableError(f"{_PORT} is {port!r}; expected the number of a port")
    token, authority = _TokenFile(folder / "token", clock=clock), folder / "ca.crt"
    trusting = partial(_trusting, authority)
    try:
        token()
        trusting()
    except OSError as error:
        raise LeaseUnavailableError(
            f"in a pod whose ServiceAccount's token and ca.crt in {folder} cannot be used ({error}); "
            "the pod needs automountServiceAccountToken"
        ) from None
    return ApiAccess(host=host, port=int(port), tls=trusting, authorization=token)


def needs_kubeconfig() -> bool:
    """Whether this process has to read a KUBECONFIG to find a cluster."""
    return not os.environ.get(_HOST) or not (SERVICE_ACCOUNT / "token").is_file()


def find_kubeconfig_reader() -> None:
    """Raise `SettingsError` if the package that reads a KUBECONFIG is not installed."""
    try:
        import kubernetes_asyncio  # noqa: F401
    except ImportError:
        raise SettingsError(
            'setting `leader_backend` = "kubernetes" reads KUBECONFIG outside a pod, and the package '
            "kubernetes-asyncio, which it needs for that, is not installed: install piko[kubernetes], or set "
            "PIKO_LEADER_BACKEND to database"
        ) from None


def own_namespace() -> str:
    """The namespace of this pod; `default` outside a pod."""
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


class _TokenFile:
    """The header with the token in a file, which is read again after a minute."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._read_at: float | None = None
        self._header = ""

    def __call__(self) -> str:
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at >= _TOKEN_AGE_S:
            token = self._path.read_text(encoding="ascii", errors="replace").strip()
            if not token:
                raise FileNotFoundError(f"{self._path} is empty")
            self._header, self._read_at = f"Bearer {token}", now
        return self._header


def _trusting(
    authority: Path | None,
    *,
    certificate: str | None = None,
    key: str | None = None,
    verify: bool = True,
) -> ssl.SSLContext:
    """A TLS context that trusts `authority` (None: the machine's authorities). Raises `OSError`."""
    context = ssl.create_default_context(cafile=authority)
    # Chain and name are still verified. Without this, Python 3.13 also refuses authorities that lack
    # extensions, which cluster tools omit and no other client requires.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, keyfile=key)
    return context


async def _access_by_kubeconfig(not_in_pod: LeaseUnavailableError) -> ApiAccess:
    find_kubeconfig_reader()
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config import ConfigException, load_kube_config

    found = Configuration()
    try:
        # Passed explicitly, because the package remembers the value from its import.
        await load_kube_config(config_file=os.environ.get("KUBECONFIG") or None, client_configuration=found)
        url = urlsplit(str(found.host))
        port = url.port or _DEFAULT_PORTS[url.scheme]
    except (ConfigException, OSError, KeyError, ValueError) as error:
        raise LeaseUnavailableError(
            f"no Kubernetes cluster to talk to: {not_in_pod}, and KUBECONFIG cannot be used ({error}); "
            "run it in a cluster, set KUBECONFIG, or set PIKO_LEADER_BACKEND to database"
        ) from None
    if found.proxy:
        raise LeaseUnavailableError(
            "KUBECONFIG names a proxy-url, and Piko connects to the API server only directly: remove it, "
            "or set PIKO_LEADER_BACKEND to database"
        )
    trusting = partial(
        _trusting,
        Path(found.ssl_ca_cert) if found.ssl_ca_cert else None,
        certificate=found.cert_file,
        key=found.key_file,
        verify=found.verify_ssl,
    )
    return ApiAccess(
        host=url.hostname or "",
        port=port,
        base=url.path.rstrip("/"),
        tls=trusting if url.scheme == "https" else None,
        server_name=found.tls_server_name,
        authorization=lambda: found.api_key.get("BearerToken"),
    )
