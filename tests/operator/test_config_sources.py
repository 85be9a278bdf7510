"""Secrets and ConfigMaps that a config names: how they are merged, asked for and watched."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from kubernetes_asyncio.client import Configuration

from piko.clock import SystemClock
from piko_operator.api_session import ApiSession
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.config_sources import SourceUnavailableError, read_sources
from piko_operator.config_spec import JobConfigSpec
from piko_operator.resources import Metadata, PikoJobConfig
from piko_operator.source_reader import SourceReader
from piko_operator.sources import Source, SourceKind, SourceUsers
from tests.harness.waiting import PATIENTLY, wait_until_async
from tests.operator.conftest import World, grant

_WATCH = [{"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"]}]
_SECRET = Source(SourceKind.SECRET, "data", "s")
_CONFIG_MAP = Source(SourceKind.CONFIG_MAP, "data", "c")


class _Served:
    """A server that holds one content for each source, and counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.contents: dict[str, dict[str, str]] = {}
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        body = dict(self.contents.get(request.path, {}))
        await self.may_answer.wait()
        if not body:
            return web.json_response({"message": "not found"}, status=404)
        if "/secrets/" in request.path:
            body = {key: base64.b64encode(value.encode()).decode() for key, value in body.items()}
        return web.json_response({"data": body})

    def hold(self, source: Source, **data: str) -> None:
        self.contents[f"/api/v1/namespaces/data/{source.kind.plural}/{source.name}"] = data


@pytest.fixture
def served() -> _Served:
    return _Served()


@pytest.fixture
async def reader(served: _Served) -> AsyncIterator[SourceReader]:
    application = web.Application()
    application.router.add_get("/{path:.*}", served.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with ApiSession(Configuration(host=f"http://127.0.0.1:{port}")) as session:
        yield SourceReader(cluster=Cluster(session=session, clock=SystemClock()))
    await runner.cleanup()


def _config(*sources: dict[str, dict[str, str]]) -> PikoJobConfig:
    spec = JobConfigSpec.model_validate({"jobId": "a", "configFrom": list(sources)})
    metadata = Metadata(name="c", namespace="data")
    return PikoJobConfig(api_version="piko.dev/v1", kind="PikoJobConfig", metadata=metadata, spec=spec)


def _secret(key: str, path: str | None = None) -> dict[str, dict[str, str]]:
    return {"secretKeyRef": {"name": "s", "key": key, **({} if path is None else {"path": path})}}


def _config_map(key: str, path: str | None = None) -> dict[str, dict[str, str]]:
    return {"configMapKeyRef": {"name": "c", "key": key, **({} if path is None else {"path": path})}}


async def test_parts_are_merged_in_their_order_and_objects_within_objects(
    served: _Served, reader: SourceReader
) -> None:
    served.hold(_CONFIG_MAP, json='{"db": {"host": "h", "pool": {"size": 5}}, "zone": "eu"}')
    served.hold(_SECRET, json='{"db": {"pool": {"size": 9}}}', password="p\n")
    found = await read_sources(
        _config(_config_map("json"), _secret("json"), _secret("password", "db.password")), reader=reader
    )
    assert found == {"db": {"host": "h", "pool": {"size": 9}, "password": "p\n"}, "zone": "eu"}
    assert await read_sources(_config(), reader=reader) is None


@pytest.mark.parametrize(
    ("source", "reason", "said"),
    [
        (_secret("none"), "SecretUnavailable", "spec.configFrom[0]: secret data/s has no key 'none'; add"),
        (_secret("text"), "SecretUnavailable", "is not JSON: expecting value, line 1, column 1; expected an"),
        (_secret("text"), "SecretUnavailable", "for a plain text, set path"),
        (_config_map("none"), "ConfigMapUnavailable", "or correct configMapKeyRef.key"),
        (
            {"configMapKeyRef": {"name": "d", "key": "k"}},
            "ConfigMapUnavailable",
            "spec.configFrom[0]: ConfigMap data/d does not exist; create it, or correct configMapKeyRef.name",
        ),
    ],
)
async def test_what_cannot_be_used_says_where_and_what_to_do(
    served: _Served, reader: SourceReader, source: dict[str, dict[str, str]], reason: str, said: str
) -> None:
    served.hold(_CONFIG_MAP, json="{}")
    served.hold(_SECRET, text="hunter2")
    with pytest.raises(SourceUnavailableError) as refused:
        await read_sources(_config(source), reader=reader)
    assert refused.value.reason == reason
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


async def test_what_a_thousand_want_at_a_time_is_asked_for_once(
    served: _Served, reader: SourceReader
) -> None:
    served.hold(_SECRET, k="v")
    served.may_answer.clear()
    reading = [asyncio.create_task(reader.read(_SECRET)) for _ in range(1000)]
    reading[0].cancel()  # one that gives up takes the answer from no other
    served.may_answer.set()
    _, *found = await asyncio.gather(*reading, return_exceptions=True)
    assert found == [{"k": b"v"}] * 999
    assert len(served.asked) == 1


async def test_what_has_changed_while_it_was_read_is_asked_for_again(
    served: _Served, reader: SourceReader
) -> None:
    served.hold(_SECRET, k="old")
    served.may_answer.clear()
    before = asyncio.create_task(reader.read(_SECRET))
    await wait_until_async(lambda: served.asked, what="the first request")
    served.hold(_SECRET, k="new")
    reader.changed(_SECRET)
    after = asyncio.create_task(reader.read(_SECRET))
    served.may_answer.set()
    assert (await before, await after) == ({"k": b"old"}, {"k": b"new"})


async def test_a_refusal_reaches_all_who_asked(reader: SourceReader) -> None:
    found = await asyncio.gather(*(reader.read(_SECRET) for _ in range(3)), return_exceptions=True)
    assert [isinstance(error, ClusterError) and error.status for error in found] == [404] * 3


def test_a_resource_uses_what_it_named_last() -> None:
    users = SourceUsers()
    users.note("a", [_SECRET, _SECRET, _CONFIG_MAP])
    users.note("b", [_SECRET])
    assert users.of(_SECRET) == ["a", "b"]
    assert list(users.used(SourceKind.CONFIG_MAP, None)) == [_CONFIG_MAP]
    assert list(users.used(SourceKind.CONFIG_MAP, "other")) == []
    users.note("a", [_SECRET])
    assert _CONFIG_MAP not in users
    users.forget("a")
    users.forget("b")
    assert users.of(_SECRET) == []
    assert _SECRET not in users


async def test_a_change_of_what_a_config_names_is_in_force_before_any_sweep(world: World) -> None:
    grant(world.control_plane, world.namespace, _WATCH, name="piko-operator-sources")
    world.start(PIKO_OPERATOR_SWEEP_INTERVAL_S="3600")
    world.kubectl("create", "configmap", "c", '--from-literal=json={"db": {"host": "h"}}')
    world.kubectl("create", "secret", "generic", "s", "--from-literal=password=one")
    names = [_config_map("json"), _secret("password", "db.password")]
    world.apply("PikoJobConfig", "c", jobId="job", config={"a": 1}, configFrom=names)

    async def until_secret(**db: str) -> None:
        secret = json.dumps({"db": db}, separators=(",", ":"))
        begun = time.monotonic()
        await world.until_row("SELECT secret_json FROM job_config", [(secret,)])
        print(f"in the row after {time.monotonic() - begun:.2f} s")

    await until_secret(host="h", password="one")
    world.kubectl("patch", "secret", "s", "-p", '{"stringData": {"password": "two"}}')
    await until_secret(host="h", password="two")
    world.kubectl("patch", "configmap", "c", "-p", '{"data": {"json": "{\\"db\\": {\\"host\\": \\"i\\"}}"}}')
    await until_secret(host="i", password="two")
    world.kubectl("delete", "secret", "s", PATIENTLY)
    await world.until_condition("pjc", "c", "Synced", reason="SecretUnavailable")
    world.kubectl("create", "secret", "generic", "s", "--from-literal=password=three")
    await until_secret(host="i", password="three")
    await world.until_condition("pjc", "c", "Synced", reason="Synced")
