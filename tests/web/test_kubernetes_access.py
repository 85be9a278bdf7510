"""`web_access = kubernetes` on a real API server: its reviews decide who reads and who acts."""

from __future__ import annotations

from datetime import datetime

import pytest
from yaml import safe_load

from piko.clock import SystemClock
from piko.store.schema.migrate import upgrade
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.operator.tenants import bind
from tests.web.clients import serving
from tests.web.rows import add_jobs


class _Clock:
    """The machine's clock, moved forward by hand."""

    def __init__(self) -> None:
        self._machine = SystemClock()
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return self._machine.now()

    def monotonic(self) -> float:
        return self._machine.monotonic() + self.ahead_s


def _token(plane: ControlPlane, namespace: str, name: str) -> str:
    path = plane.service_account_kubeconfig(namespace, name)
    token: str = safe_load(path.read_text(encoding="utf-8"))["users"][0]["user"]["token"]
    return token


def _grant(plane: ControlPlane, namespace: str, name: str, verbs: str) -> None:
    rule = {
        "apiGroups": ["piko.dev"],
        "resources": ["pikoschedules", "pikojobconfigs"],
        "verbs": verbs.split(","),
    }
    bind(plane, name, [rule], account=(namespace, name), namespaces=[namespace])


async def test_rights_to_the_two_kinds_decide_until_the_token_is_revoked(
    crds: ControlPlane, namespace: str, sqlite: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upgrade(sqlite.dsn)
    await add_jobs(sqlite, "a")
    tokens = {name: _token(crds, namespace, name) for name in ("nobody", "reads", "acts")}
    _grant(crds, namespace, "reads", "get")
    _grant(crds, namespace, "acts", "get,patch")
    monkeypatch.setenv("KUBECONFIG", str(crds.admin_kubeconfig))
    clock = _Clock()
    async with serving(sqlite, clock=clock, access="kubernetes", namespace=namespace) as client:

        async def answers(token: str) -> tuple[int, int]:
            headers = {"Piko-Token": token}
            read = await client.get("/api/v1/jobs", headers=headers)
            act = await client.post("/api/v1/jobs/a:pause", json={}, headers=headers)
            return read.status_code, act.status_code

        assert await answers("nonsense") == (401, 401)
        assert await answers(tokens["nobody"]) == (401, 401)
        assert await answers(tokens["reads"]) == (200, 403)
        assert await answers(tokens["acts"]) == (200, 200)
        changes = await client.get("/api/v1/changes", headers={"Piko-Token": tokens["reads"]})
        assert changes.json()["items"][0]["who"] == f"system:serviceaccount:{namespace}:acts"
        crds.kubectl("delete", "serviceaccount", "acts", "-n", namespace)

        async def refused() -> bool:
            clock.ahead_s += 60  # the API server keeps its own answers for some seconds, too
            return await answers(tokens["acts"]) == (401, 401)

        await wait_until_async(refused, what="the revoked token to be refused")
