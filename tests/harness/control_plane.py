"""A Kubernetes control plane without nodes: etcd and kube-apiserver, RBAC, real ServiceAccount tokens.

There are no controllers in it: nothing collects garbage, nothing starts pods, and a deleted namespace stays
`Terminating`. What it does decide (schemas, CEL, conflicts, finalizers, roles, tokens) it
decides as any cluster does.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.harness.lines import whole_lines
from tests.harness.locate import find_tool
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper
from tests.harness.waiting import ANSWER_S, PATIENCE_S, PATIENTLY, wait_until

_TOKEN_DURATION = "24h"
_ETCD_WAS_SLOW = "error creating storage factory: context deadline exceeded"
_PIKO_RESOURCES = "pikoschedules.piko.dev,pikojobconfigs.piko.dev,pikobackfills.piko.dev"

_AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {
            "level": "Metadata",
            "verbs": ["create", "update", "patch", "delete"],
            "resources": [
                {"group": "piko.dev"},
                {"group": "coordination.k8s.io"},
                {"group": "", "resources": ["events"]},
            ],
        },
        {"level": "None"},
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedWrite:
    """One write of an object that the API server was asked for."""

    verb: str
    resource: str
    name: str
    user: str
    agent: str
    status: int


class ControlPlane:
    """A reachable API server and the credentials of its administrator."""

    def __init__(self, *, url: str, ca_file: Path, admin_kubeconfig: Path, folder: Path) -> None:
        self.url = url
        self.ca_file = ca_file
        self.admin_kubeconfig = admin_kubeconfig
        self._folder = folder
        self.audit_log: Path | None = None
        """What was asked of the API server, one JSON object a line; None: it is not to be seen."""

    @classmethod
    def named_by(cls, kubeconfig: Path, *, folder: Path) -> ControlPlane:
        """The cluster of a kubeconfig's current context, whose user must be an administrator."""
        folder.mkdir(parents=True, exist_ok=True)
        command = [str(find_tool("kubectl")), "--kubeconfig", str(kubeconfig)]
        view = subprocess.run(
            [*command, "config", "view", "--raw", "--minify", "--flatten", "-o", "json"],
            capture_output=True,
            check=True,
            timeout=PATIENCE_S,
        )
        cluster = json.loads(view.stdout)["clusters"][0]["cluster"]
        ca_file = folder / "ca.crt"
        ca_file.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        return cls(url=cluster["server"], ca_file=ca_file, admin_kubeconfig=kubeconfig, folder=folder)

    def kubectl(
        self,
        *arguments: str,
        kubeconfig: Path | None = None,
        input: str | None = None,  # noqa: A002 the name that subprocess.run gives it
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as the administrator, or as whom `kubeconfig` names.

        With `check`, a failure is an `AssertionError` that shows what kubectl said.
        """
        # What kubectl remembers of other clusters on this port is wrong here.
        cache = f"--cache-dir={self._folder / 'kubectl'}"
        outcome = subprocess.run(
            [find_tool("kubectl"), "--kubeconfig", kubeconfig or self.admin_kubeconfig, cache, *arguments],
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S + ANSWER_S,  # one that waits has its own bound, and says then for what
        )
        if check and outcome.returncode != 0:
            raise AssertionError(
                f"`kubectl {' '.join(arguments)}` ended with {outcome.returncode}:\n"
                f"{outcome.stdout}{outcome.stderr}"
            )
        return outcome

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig whose user is `system:serviceaccount:<namespace>:<name>`.

        The token is one of the TokenRequest API. The ServiceAccount is created where it lacks; what it
        may do, roles and bindings decide.
        """
        if self.kubectl("-n", namespace, "get", "serviceaccount", name, check=False).returncode != 0:
            self.kubectl("-n", namespace, "create", "serviceaccount", name)
        token = self.kubectl(
            "-n", namespace, "create", "token", name, f"--duration={_TOKEN_DURATION}"
        ).stdout.strip()
        path = self._folder / f"{namespace}-{name}.kubeconfig"
        write_kubeconfig(path, url=self.url, ca_file=self.ca_file, token=token, namespace=namespace)
        return path

    def install_crds(self, folder: Path) -> None:
        """Applies every definition in `folder` and waits until the API server serves them."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
        self.until_served("-f", str(folder))

    def until_served(self, *definitions: str) -> None:
        """Waits until resources of `definitions`, arguments of kubectl, can be read.

        A definition is established a little before discovery says so, without which kubectl knows no kind.
        """
        # kubectl gives up on a definition that has no conditions yet.
        wait_until(
            lambda: (
                self.kubectl(
                    "wait", "--for=condition=Established", PATIENTLY, *definitions, check=False
                ).returncode
                == 0
            ),
            what=f"{definitions} to be established",
        )
        paths = self.kubectl("get", *definitions, "-o", "name").stdout.split()
        kinds = ",".join(path.partition("/")[2] for path in paths)
        wait_until(
            lambda: self.kubectl("get", kinds, "-o", "name", check=False).returncode == 0,
            what=f"{kinds} to be served",
        )

    def until_may(self, user: str, verb: str, resource: str, *, namespace: str, may: bool = True) -> None:
        """Waits until the rights of `user` are such: the API server learns of a role after it is written.

        - `verb`, `resource`: as `kubectl auth can-i` takes them.
        - `namespace`: where the user asks.
        - `may`: what the answer is to be.
        """
        question = ("auth", "can-i", verb, resource, f"--as={user}", "-n", namespace)
        wait_until(
            lambda: self.kubectl(*question, check=False).stdout.strip() == ("yes" if may else "no"),
            what=f"{user} {'to have' if may else 'to lose'} the right to {verb} {resource} in {namespace}",
        )

    def create_namespace(self) -> str:
        """A namespace with a name that nobody else has."""
        name = f"piko-test-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", name)
        return name

    def writes(self, namespace: str) -> list[AuditedWrite]:
        """The writes in a namespace, oldest first. Raises `AssertionError` without an audit log."""
        assert self.audit_log is not None, "this API server shows no audit log"
        found = []
        for line in whole_lines(self.audit_log):
            entry = json.loads(line)
            where = entry.get("objectRef", {})
            if where.get("namespace") != namespace:
                continue
            resource = "/".join(filter(None, (where["resource"], where.get("subresource"))))
            found.append(
                AuditedWrite(
                    verb=entry["verb"],
                    resource=resource,
                    name=where.get("name", ""),
                    user=entry["user"]["username"],
                    agent=entry.get("userAgent", ""),
                    status=entry["responseStatus"]["code"],
                )
            )
        return found

    def remove_namespace(self, namespace: str) -> None:
        """Deletes the namespace and, whether or not an operator still runs, Piko's resources in it."""
        listed = self.kubectl("-n", namespace, "get", _PIKO_RESOURCES, "-o", "name", check=False)
        for resource in listed.stdout.split() if listed.returncode == 0 else ():
            self.kubectl(
                "-n", namespace, "delete", resource, "--wait=false", "--ignore-not-found", check=False
            )
            without = ("patch", resource, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
            self.kubectl("-n", namespace, *without, check=False)
        self.kubectl("delete", "namespace", namespace, "--wait=false")


class OwnControlPlane(ControlPlane):
    """A control plane started for this run, on free ports and in a private folder."""

    def __init__(self, *, folder: Path, reaper: Reaper) -> None:
        self._reaper = reaper
        self._admin_token = secrets.token_hex(16)
        self._service_account_key = folder / "service-account.key"
        self._tokens = folder / "tokens.csv"
        self._etcd_url = ""
        self._processes: list[ChildProcess] = []
        super().__init__(**_own_place(folder))

    def start(self) -> None:
        """Starts etcd and the API server, and returns when the API server is ready."""
        self._etcd_url = self._start_etcd()
        self._service_account_key.write_bytes(_private_key())
        self._tokens.write_text(f'{self._admin_token},admin,admin,"system:masters"\n', encoding="utf-8")
        self._start_apiserver(self, folder=self._folder)

    def start_another(self) -> ControlPlane:
        """One more API server on the same etcd, with the same accounts, when it is ready.

        It knows no change from before its start, so that no watch can go on at it from an earlier version.
        """
        folder = self._folder / f"another-{len(self._processes)}"
        another = ControlPlane(**_own_place(folder))
        self._start_apiserver(another, folder=folder)
        return another

    def compact(self) -> None:
        """Has etcd forget each version but the present ones."""
        present = self._ask_etcd("kv/range", {"key": "AA=="})["header"]["revision"]
        self._ask_etcd("kv/compaction", {"revision": present, "physical": True})

    def kill(self) -> None:
        """Ends all of it; there is nothing worth a clean shutdown."""
        for process in reversed(self._processes):
            process.kill()

    def _start_etcd(self) -> str:
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._launch(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            folder=self._folder,
        )
        return client

    def _ask_etcd(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        response = httpx.post(
            f"{self._etcd_url}/v3/{path}", json=question, timeout=PATIENCE_S, trust_env=False
        )
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def _start_apiserver(self, plane: ControlPlane, *, folder: Path) -> None:
        """Start one where `plane` says that it is, with its files in `folder`."""
        policy = folder / "audit-policy.json"
        policy.write_text(json.dumps(_AUDIT_POLICY), encoding="utf-8")
        plane.audit_log = folder / "audit.log"
        arguments = [
            f"--etcd-servers={self._etcd_url}",
            f"--cert-dir={plane.ca_file.parent}",
            "--bind-address=127.0.0.1",
            f"--secure-port={httpx.URL(plane.url).port}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._service_account_key}",
            f"--service-account-signing-key-file={self._service_account_key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--token-auth-file={self._tokens}",
            "--authorization-mode=RBAC",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={plane.audit_log}",
            "--disable-admission-plugins=ServiceAccount",
        ]
        process = self._launch("kube-apiserver", *arguments, folder=folder)

        def ready() -> bool:
            nonlocal process
            if not process.running:
                # It gives an etcd that is slow to start 20 s, which no option changes.
                if _ETCD_WAS_SLOW not in process.tail():
                    raise AssertionError(f"kube-apiserver ended with {process.returncode}:\n{process.tail()}")
                process = self._launch("kube-apiserver", *arguments, folder=folder)
            return self._says_ready(plane)

        wait_until(
            ready,
            what=f"the API server to be ready, log {process.log}",
            interval=0.1,
        )
        write_kubeconfig(
            plane.admin_kubeconfig, url=plane.url, ca_file=plane.ca_file, token=self._admin_token
        )

    def _launch(self, name: str, *arguments: str, folder: Path) -> ChildProcess:
        process = ChildProcess(
            [find_tool(name), *arguments], name=name, log=folder / f"{name}.log", reaper=self._reaper
        )
        self._processes.append(process)
        return process

    def _says_ready(self, plane: ControlPlane) -> bool:
        try:
            response = httpx.get(
                f"{plane.url}/readyz",
                headers={"Authorization": f"Bearer {self._admin_token}"},
                timeout=ANSWER_S,
                trust_env=False,
                verify=ssl.create_default_context(cafile=str(plane.ca_file)),
            )
        except (FileNotFoundError, ssl.SSLError):  # its certificate is not there yet, or in part
            return False
        except httpx.TransportError:
            return False
        return response.status_code == httpx.codes.OK


def _own_place(folder: Path) -> dict[str, Any]:
    """What a control plane is told of an API server that is started here, with its files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "url": f"https://127.0.0.1:{free_port()}",
        # Left without a certificate, the API server makes one here, with the authority that signed it.
        "ca_file": folder / "certificates" / "apiserver.crt",
        "admin_kubeconfig": folder / "admin.kubeconfig",
        "folder": folder,
    }


def write_kubeconfig(path: Path, *, url: str, ca_file: Path, token: str, namespace: str = "default") -> None:
    """Writes a kubeconfig with one cluster, one user and one context, or replaces one; JSON is YAML."""
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [
            {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}
        ],
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    new = path.with_name(f"{path.name}.new")  # who reads it meanwhile sees the one before, whole
    new.touch(mode=0o600)
    new.write_text(json.dumps(document, indent=2), encoding="utf-8")
    new.rename(path)


def _private_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
