"""Resources are checked before they are applied: by the operator, asked by a real API server."""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from piko_operator.admission.certificates import make_certificate
from piko_operator.admission.review import PROTECTED
from piko_operator.annotations import PAUSED
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.waiting import wait_until_async
from tests.operator.conftest import World, create_tables, grant
from tests.operator.tenants import bind

_CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "refused.yaml").read_text(encoding="utf-8")
)
_SERVICE = "piko-test-admission"
_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"rows": {"type": "integer", "minimum": 1}, "mode": {"enum": ["fast", "safe"]}},
        "required": ["rows"],
        "additionalProperties": False,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A namespace whose resources the operator checks."""

    world: World
    process: ChildProcess

    def create(self, kind: str, spec: dict[str, Any], *, name: str = "example", dry: bool = True) -> str:
        """What kubectl says of a resource, on the channel of errors; nothing if it is accepted."""
        return self.say("create", _body(kind, name, spec), *(("--dry-run=server",) if dry else ()))

    def say(self, verb: str, body: dict[str, Any], *flags: str) -> str:
        control_plane = self.world.control_plane
        outcome = control_plane.kubectl(
            "-n", self.world.namespace, verb, *flags, "-f", "-", input=json.dumps(body), check=False
        )
        return outcome.stderr.strip()


def _body(kind: str, name: str, spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name} | ({"annotations": annotations} if annotations else {})
    return {"apiVersion": "piko.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _configurations(name: str, namespace: str, port: int) -> list[dict[str, Any]]:
    """The chart's, for one namespace."""
    return [
        _configuration("Validating", name, "check", ["CREATE", "UPDATE", "DELETE"], namespace, port),
        _configuration("Mutating", name, "form", ["CREATE", "UPDATE"], namespace, port),
    ]


def _configuration(
    kind: str, name: str, webhook: str, operations: list[str], namespace: str, port: int
) -> dict[str, Any]:
    rule = {
        "apiGroups": ["piko.dev"],
        "apiVersions": ["v1"],
        "resources": ["pikoschedules", "pikojobconfigs", "pikobackfills"],
        "operations": operations,
    }
    where = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]}
    path = {"check": "/admission", "form": "/form"}[webhook]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": f"{webhook}.piko.dev",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 30,  # the longest that there is
                "clientConfig": {
                    "service": {"name": _SERVICE, "namespace": namespace, "path": path, "port": port}
                },
                "namespaceSelector": {"matchExpressions": [where]},
                "rules": [rule],
            }
        ],
    }


@pytest.fixture
def certified(crds: ControlPlane, namespace: str) -> Iterator[int]:
    """The port of the webhook, with the objects that the chart brings for it and the rights on them."""
    port, name = free_port(), f"{_SERVICE}-{namespace}"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": _SERVICE}}
    # There is no network of pods here: this Service stands for the operator beside the API server.
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _SERVICE},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    for body in (secret, service):
        crds.kubectl("-n", namespace, "create", "-f", "-", input=json.dumps(body))
    for body in _configurations(name, namespace, port):
        crds.kubectl("create", "-f", "-", input=json.dumps(body))
    one = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [_SERVICE],
        "verbs": ["get", "patch"],
    }
    grant(crds, namespace, [one], name="piko-admission")
    trusted = {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"],
        "resourceNames": [name],
        "verbs": ["get", "patch"],
    }
    bind(crds, name, [trusted], account=(namespace, "operator"), namespaces=[])
    yield port
    kinds = "validatingwebhookconfiguration,mutatingwebhookconfiguration,clusterrole,clusterrolebinding"
    crds.kubectl("delete", kinds, name)


@pytest.fixture
async def checked(
    mariadb: TestDatabase,
    make_world: Callable[[TestDatabase], World],
    certified: int,
) -> Checked:
    world = make_world(await create_tables(mariadb))
    await world.database.execute(
        "INSERT INTO job_definition "
        "(job_id, app, handler, stateful, config_schema, content_hash, instance_id) "
        f"VALUES ('known', 'app', 'a:b', 0, '{_SCHEMA}', 'h', 'i')"
    )
    tenants = [{"namespaces": [world.namespace], "jobs": ["a*", "known"], "groups": ["mine"]}]
    process = world.start(
        PIKO_OPERATOR_ADMISSION_PORT=str(certified),
        PIKO_OPERATOR_ADMISSION_SERVICE=_SERVICE,
        PIKO_OPERATOR_ADMISSION_CONFIGURATION=f"{_SERVICE}-{world.namespace}",
        PIKO_OPERATOR_TENANTS=json.dumps(tenants),
    )
    process.wait_for_line("admission_certificate_trusted.*Mutating|Mutating.*admission_certificate_trusted")
    found = Checked(world=world, process=process)
    fine = {"jobId": "a", "schedule": {"cron": "@daily"}}

    async def answers() -> bool:  # the API server takes a moment to read its own configuration again
        return found.create("PikoSchedule", fine) == ""

    await wait_until_async(answers, what="the API server to trust the webhook")
    return found


async def test_what_is_wrong_is_refused_at_apply_with_what_where_and_expected(checked: Checked) -> None:
    assert len(_CASES) >= 52
    wrong = []
    for case in _CASES:
        said = checked.create(case["kind"], case["spec"])
        if case["said"] not in said:
            wrong.append(f"{case['spec']}: expected {case['said']!r}; found {said!r}")
    assert not wrong, "\n".join(wrong)


async def test_a_protected_resource_is_not_deleted(checked: Checked) -> None:
    spec = {"jobId": "a", "schedule": {"cron": "@daily"}}
    body = _body("PikoSchedule", "kept", spec, **{PROTECTED: "true"})
    assert checked.say("apply", body) == ""
    outcome = checked.world.control_plane.kubectl(
        "-n", checked.world.namespace, "delete", "psch", "kept", check=False
    )
    assert "kept is protected from deletion by piko.dev/protected: 'true'" in outcome.stderr
    checked.world.kubectl("annotate", "psch", "kept", f"{PROTECTED}-")
    checked.world.kubectl("delete", "psch", "kept")


async def test_a_change_says_what_it_does_before_it_is_applied(checked: Checked) -> None:
    spec = {"jobId": "a", "schedule": {"interval": {"hours": 1}}}
    assert checked.say("apply", _body("PikoSchedule", "one", spec)) == ""
    rarer = {"jobId": "a", "schedule": {"interval": {"hours": 12}}}
    said = checked.say("apply", _body("PikoSchedule", "one", rarer), "--dry-run=server")
    assert "Warning: due times in the next 7 days: 168 before this change, 14 after it" in said
    assert checked.world.read("psch", "one")["spec"]["schedule"] == {"interval": {"hours": 1}}
    local = {"jobId": "ab", "schedule": {"cron": "30 2 * * *"}, "timeZone": "Europe/Berlin"}
    said = checked.say("create", _body("PikoSchedule", "two", local), "--dry-run=server")
    assert re.search(r"Warning: On 20\d\d-\d\d-\d\d clocks in Europe/Berlin go (forward|back) from", said), (
        said
    )


async def test_who_resumes_a_job_hears_before_which_windows_run_then(checked: Checked) -> None:
    world, execute = checked.world, checked.world.database.execute
    spec = {"jobId": "abc", "schedule": {"interval": {"hours": 1}}, "suspend": True}
    bounded = {**spec, "suspend": False, "backfill": {"maxWindows": 2}}
    assert checked.say("apply", _body("PikoSchedule", "three", spec)) == ""
    await world.until_condition("psch", "three", "Synced", reason="Synced")
    resumed = _body("PikoSchedule", "three", {**spec, "suspend": False})
    assert "resuming" not in checked.say("apply", resumed, "--dry-run=server"), "a job that is not stateful"
    await execute(
        "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id) "
        "VALUES ('abc', 'app', 'a:b', 1, 'h', 'i')"
    )
    watermark = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    await execute(f"UPDATE scheduled_job SET last_data_time = '{watermark:%Y-%m-%d %H:%M:%S}'")
    said = checked.say("apply", resumed, "--dry-run=server")
    since = f"windows since the watermark {watermark:%Y-%m-%dT%H:%M:%SZ} run with the next due time"
    assert re.search(rf"Warning: resuming: [56] {since}$", said, re.MULTILINE), said
    said = checked.say("apply", _body("PikoSchedule", "three", bounded), "--dry-run=server")
    assert re.search(
        rf"Warning: resuming: [56] {since}; [34] of them are given up by its bounds$", said, re.MULTILINE
    )
    assert await execute("SELECT enabled FROM scheduled_job") == [(0,)]

    # A pause by annotation ends without an edit of the spec.
    assert since in checked.say("apply", resumed)
    world.kubectl("annotate", "psch", "three", f"{PAUSED}=true")
    outcome = world.control_plane.kubectl("-n", world.namespace, "annotate", "psch", "three", f"{PAUSED}-")
    assert since in outcome.stderr


async def test_an_old_certificate_is_renewed_and_the_api_server_goes_on_asking(checked: Checked) -> None:
    world, name = checked.world, f"{_SERVICE}-{checked.world.namespace}"
    assert checked.process.terminate() == 0
    host = f"{_SERVICE}.{world.namespace}.svc"
    old = make_certificate([host], now=datetime.now(UTC) - timedelta(days=250))
    values = {"tls.crt": old.certificate, "tls.key": old.key, "ca.crt": old.authorities}
    data = {field: base64.b64encode(value).decode() for field, value in values.items()}
    world.kubectl("patch", "secret", _SERVICE, "--type=merge", "-p", json.dumps({"data": data}))
    again = world.start(
        PIKO_OPERATOR_ADMISSION_PORT=_port(world, name),
        PIKO_OPERATOR_ADMISSION_SERVICE=_SERVICE,
        PIKO_OPERATOR_ADMISSION_CONFIGURATION=name,
    )
    again.wait_for_line("admission_certificate_made")
    fine, wrong = ({"jobId": "a", "schedule": {"cron": text}} for text in ("@daily", "61 * * * *"))

    async def answers() -> bool:
        return checked.create("PikoSchedule", fine) == ""

    await wait_until_async(answers, what="the API server to trust the new certificate")
    assert "spec.schedule: " in checked.create("PikoSchedule", wrong)
    kept = json.loads(world.kubectl("get", "secret", _SERVICE, "-o", "json"))["data"]
    assert kept["tls.crt"] != data["tls.crt"]
    trusted = x509.load_pem_x509_certificates(base64.b64decode(kept["ca.crt"]))
    assert len(trusted) == 2, "the authority before it, for replicas that still serve what it has signed"


async def test_a_resource_that_is_being_deleted_is_never_held_up(checked: Checked) -> None:
    """Although its spec would be refused: it was applied while nobody checked."""
    spec = {"jobId": "a", "schedule": {"cron": "@daily"}, "timeZone": "Mars/Base"}
    world, name = checked.world, f"{_SERVICE}-{checked.world.namespace}"
    for kind, webhook in (("validating", "check"), ("mutating", "form")):
        patch = f'{{"webhooks": [{{"name": "{webhook}.piko.dev", "failurePolicy": "Ignore"}}]}}'
        world.control_plane.kubectl(
            "patch", f"{kind}webhookconfiguration", name, "--type=strategic", "-p", patch
        )
    checked.process.terminate()
    checked.process.wait()

    async def unchecked() -> bool:
        return checked.create("PikoSchedule", spec, name="old", dry=False) == ""

    await wait_until_async(unchecked, what="the API server to go on without the webhook")
    again = world.start(
        PIKO_OPERATOR_ADMISSION_PORT=_port(world, name),
        PIKO_OPERATOR_ADMISSION_SERVICE=_SERVICE,
        PIKO_OPERATOR_ADMISSION_CONFIGURATION=name,
    )
    again.wait_for_line("admission_started")
    await world.until_condition("psch", "old", "Synced", reason="Synced")
    world.kubectl("delete", "psch", "old")
    await world.until_row("SELECT job_id FROM scheduled_job", [])


def _port(world: World, name: str) -> str:
    text = world.control_plane.kubectl("get", "validatingwebhookconfiguration", name, "-o", "json").stdout
    return str(json.loads(text)["webhooks"][0]["clientConfig"]["service"]["port"])


async def test_a_replica_keeps_the_certificate_that_another_has_made(checked: Checked) -> None:
    world = checked.world
    before = json.loads(world.kubectl("get", "secret", _SERVICE, "-o", "json"))["data"]
    other = world.start(
        PIKO_OPERATOR_HTTP_PORT="0",
        PIKO_OPERATOR_ADMISSION_PORT="0",
        PIKO_OPERATOR_ADMISSION_SERVICE=_SERVICE,
        PIKO_OPERATOR_ADMISSION_CONFIGURATION=f"{_SERVICE}-{world.namespace}",
    )
    other.wait_for_line("admission_started")
    assert json.loads(world.kubectl("get", "secret", _SERVICE, "-o", "json"))["data"] == before
    certificate = x509.load_pem_x509_certificate(base64.b64decode(before["tls.crt"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert f"{_SERVICE}.{world.namespace}.svc" in names.get_values_for_type(x509.DNSName)


def test_a_renewal_trusts_the_authority_before_it_and_no_older_one() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    first = make_certificate(["a.svc"], now=now)
    second = make_certificate(["a.svc"], now=now + timedelta(days=245), previous=first.authorities)
    third = make_certificate(["a.svc"], now=now + timedelta(days=490), previous=second.authorities)
    assert len(x509.load_pem_x509_certificates(first.authorities)) == 1
    assert second.authorities.endswith(first.authorities)
    assert len(x509.load_pem_x509_certificates(third.authorities)) == 2
    assert first.authorities not in third.authorities
    context = ssl.create_default_context(cadata=third.authorities.decode())
    assert len(context.get_ca_certs()) == 2
    assert third.is_for("a.svc")
    assert not third.is_for("b.svc")
