"""No reference of one team reaches a Secret of another, although the operator may read both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import load_kube_config

from piko.clock import SystemClock
from piko_operator.api_session import ApiSession
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.sources import Source, SourceKind
from tests.harness.control_plane import ControlPlane
from tests.operator.tenants import Team, bind, resource, secret, team_of, unbind

_READ = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]

NAMES = [
    "../../{b}/secrets/bob",
    "../../../namespaces/{b}/secrets/bob",
    "alice/../../../{b}/secrets/bob",
    "..%2f..%2f{b}%2fsecrets%2fbob",
    "%2e%2e/%2e%2e/{b}/secrets/bob",
    "%2e%2e%2f%2e%2e%2f{b}%2fsecrets%2fbob",
    "%252e%252e%252f%252e%252e%252f{b}%252fsecrets%252fbob",
    "..\\..\\{b}\\secrets\\bob",
    "..",
    ".",
    "%2e%2e",
    "alice/",
    "/{b}/secrets/bob",
    "alice?namespace={b}",
    "?fieldSelector=metadata.name%3Dbob",
    "#bob",
    "alice#/../../{b}/secrets/bob",
    "alice;/../bob",
    "alice\n",
    "ALICE",
    "a" * 254,
]


@pytest.fixture(scope="module")
def teams(crds: ControlPlane) -> Iterator[tuple[Team, Team]]:
    with team_of(crds) as a, team_of(crds) as b:
        a.apply(secret("alice", k='{"mine": "of a"}'))
        b.apply(secret("bob", k='{"mine": "of b"}'))
        yield a, b


@pytest.fixture(params=["cluster", "namespaced"])
async def cluster(
    request: pytest.FixtureRequest, crds: ControlPlane, teams: tuple[Team, Team], namespace: str
) -> AsyncIterator[Cluster]:
    """The operator's side of the API server, with the rights of either mode."""
    served = [] if request.param == "cluster" else [team.namespace for team in teams]
    kubeconfig = crds.service_account_kubeconfig(namespace, "operator")
    role = f"secrets-{namespace}"
    bind(crds, role, _READ, account=(namespace, "operator"), namespaces=served)
    configuration = Configuration()
    await load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    async with ApiSession(configuration) as session:
        yield Cluster(session=session, clock=SystemClock(), namespaces=served)
    unbind(crds, role)


async def test_the_operator_reads_no_secret_but_the_one_that_is_named(
    cluster: Cluster, teams: tuple[Team, Team]
) -> None:
    a, b = teams
    assert await cluster.content(_secret(b, "bob")) == {"k": b'{"mine": "of b"}'}
    assert await cluster.content(_secret(a, "alice")) == {"k": b'{"mine": "of a"}'}
    for pattern in NAMES:
        with pytest.raises((ClusterError, ValueError)):
            await cluster.content(_secret(a, pattern.format(b=b.namespace)))


def _secret(team: Team, name: str) -> Source:
    return Source(SourceKind.SECRET, team.namespace, name)


@pytest.mark.parametrize("pattern", NAMES)
def test_a_reference_to_another_namespace_is_refused_at_apply(teams: tuple[Team, Team], pattern: str) -> None:
    a, b = teams
    reference = {"secretKeyRef": {"name": pattern.format(b=b.namespace), "key": "k"}}
    code, said = a.apply(resource("PikoJobConfig", "c", jobId="a", configFrom=[reference]), check=False)
    assert code != 0
    assert "spec.configFrom[0].secretKeyRef.name" in said


def test_a_team_may_not_read_the_others_secret_itself(teams: tuple[Team, Team]) -> None:
    a, b = teams
    code, said = a.kubectl("get", "secret", "bob", "-n", b.namespace, check=False)
    assert code != 0
    assert "forbidden" in said.lower()
