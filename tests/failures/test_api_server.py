"""Leadership by a Kubernetes Lease while jobs run, and an API server that is no help."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.failures.two_replicas import (
    BOTH_EXECUTORS,
    TwoReplicas,
    answers_of,
    epoch_of,
    liveness,
    more_starts,
    roles,
    until_follows,
    until_leads,
    until_says,
)
from tests.harness.control_plane import ControlPlane
from tests.leadership.api_proxy import ApiProxy

TROUBLES = ("stopped", "slow", "500", "409", "429")


def make_trouble(proxy: ApiProxy, trouble: str) -> None:
    proxy.closed, proxy.delay_s, proxy.status = trouble == "stopped", 0.0, None
    if trouble == "slow":
        proxy.delay_s = 60.0
    elif trouble.isdigit():
        proxy.status = int(trouble)


@pytest.mark.parametrize("executor", BOTH_EXECUTORS)
async def test_the_api_server_is_no_help_to_anybody(
    executor: str, two_replicas: TwoReplicas, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Nobody leads meanwhile, and then the one that did, under the same epoch."""
    async with ApiProxy(control_plane, tmp_path).serving() as proxy:
        # A busy API server answers a renewal late, and yet within the two thirds of the lease in which its
        # holder leads; the follower leaves the lease alone for the time of one renewal.
        terms = {"PIKO_LEADER_LEASE_S": "24", "PIKO_LEADER_RENEW_INTERVAL_S": "6"}
        environment = {**lease_by(proxy, namespace), **terms}
        async with two_replicas(executor=executor, environment=environment) as stage:
            leader, follower = await roles(stage)
            epoch = await epoch_of(stage)
            for trouble in TROUBLES:
                make_trouble(proxy, trouble)
                await until_says(stage, leader, 503, "could not be renewed in time; nothing is claimed")
                await until_says(stage, follower, 503, "it could not take over")
                assert {await liveness(replica) for replica in stage.replicas} == {200}, trouble
                make_trouble(proxy, "none")
                await until_leads(stage, leader)
                await until_follows(stage, follower)
                await more_starts(stage, 10)
                assert await epoch_of(stage) == epoch, trouble


async def test_the_leader_alone_is_cut_off_from_the_api_server(
    two_replicas: TwoReplicas, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        proxies = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            proxies.append(await stack.enter_async_context(ApiProxy(control_plane, folder).serving()))

        def environment(number: int) -> Mapping[str, str]:
            # The one that leads does so for 10 s after a renewal, however busy the API server is.
            terms = {"PIKO_LEADER_LEASE_S": "15", "PIKO_LEADER_RENEW_INTERVAL_S": "3"}
            return {**lease_by(proxies[number], namespace), **terms}

        async with two_replicas(environment=environment) as stage:
            leader, follower = await roles(stage)
            proxy = proxies[stage.replicas.index(leader)]
            proxy.closed = True
            await until_says(stage, leader, 503, "could not be renewed in time; nothing is claimed")
            await until_leads(stage, follower)
            await more_starts(stage, pid=follower.process.pid)
            proxy.closed = False
            await until_follows(stage, leader)


async def test_an_api_server_that_is_slow_within_reason_changes_nothing(
    two_replicas: TwoReplicas, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with ApiProxy(control_plane, tmp_path).serving() as proxy:
        environment = {**lease_by(proxy, namespace), "PIKO_LEADER_LEASE_S": "30"}
        async with two_replicas(environment=environment) as stage:
            leader, _ = await roles(stage)
            epoch, slow_since = await epoch_of(stage), time.time()
            proxy.delay_s = 0.4
            await more_starts(stage, 60)
            assert await epoch_of(stage) == epoch
            assert answers_of(stage, leader, since=slow_since) == {"leader"}


def lease_by(proxy: ApiProxy, namespace: str) -> Mapping[str, str]:
    return {
        "PIKO_LEADER_BACKEND": "kubernetes",
        "PIKO_LEADER_NAMESPACE": namespace,
        "KUBECONFIG": str(proxy.kubeconfig),
    }
