"""What the kubelet gives to a pod, for a process outside one: a ServiceAccount's files and an environment."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from tests.harness.control_plane import ControlPlane

MAY_LEAD = ("--verb=get,create,update", "--resource=leases.coordination.k8s.io")


def service_account_files(folder: Path, *, ca_file: Path, token: str, namespace: str = "default") -> None:
    """Writes `token`, `ca.crt` and `namespace` as they are mounted into a pod."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token, encoding="utf-8")
    (folder / "ca.crt").write_bytes(ca_file.read_bytes())
    (folder / "namespace").write_text(namespace, encoding="utf-8")


def service_environment(url: str) -> dict[str, str]:
    """The variables that lead a pod to the API server at `url`."""
    parts = urlsplit(url)
    return {"KUBERNETES_SERVICE_HOST": str(parts.hostname), "KUBERNETES_SERVICE_PORT": str(parts.port)}


def leading_pod(control_plane: ControlPlane, folder: Path, *, namespace: str) -> dict[str, str]:
    """The files, in `folder`, of a ServiceAccount that may hold Leases in `namespace`; the environment."""
    account = "leads"
    for command in (
        ("serviceaccount", account),
        ("role", account, *MAY_LEAD),
        ("rolebinding", account, f"--role={account}", f"--serviceaccount={namespace}:{account}"),
    ):
        control_plane.kubectl("-n", namespace, "create", *command)
    user = f"system:serviceaccount:{namespace}:{account}"
    control_plane.until_may(user, "update", "leases.coordination.k8s.io", namespace=namespace)
    token = control_plane.kubectl("-n", namespace, "create", "token", account).stdout
    service_account_files(folder, ca_file=control_plane.ca_file, token=token, namespace=namespace)
    return service_environment(control_plane.url)
