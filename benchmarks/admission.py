"""The admission webhook: how long both answers about a resource take.

    python -m benchmarks.admission --count 2000  # half a minute

The webhook is asked as the API server asks it, over TLS at its two paths one after the other, about resources
in turn: a schedule that is made, one whose times change, and a config whose job has published a schema, which
takes a read of the database.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import ssl
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import aiohttp
from tests.harness.ports import free_port

from benchmarks.resource_world import AT_ONCE, TIMEOUT, World, percentiles, with_world

_WEBHOOK = "benchmark-admission"
_MADE = {"jobId": "made", "schedule": {"cron": "30 2 * * *"}, "timeZone": "Europe/Berlin"}
_RARE = {**_MADE, "schedule": {"interval": {"every": "12h"}}}
_ASKED: Sequence[tuple[str, dict[str, Any], dict[str, Any] | None]] = (
    ("PikoSchedule", _MADE, None),
    ("PikoSchedule", _RARE, {**_MADE, "schedule": {"interval": {"seconds": 1}}}),
    ("PikoJobConfig", {"jobId": "known", "config": {"rows": 3}}, None),
)
"""Kind, spec, and the spec before it where there was one."""


async def measure_reviews(world: World, count: int) -> dict[str, Any]:
    """Milliseconds until both answers about a resource are there: asked one by one, and eight at once."""
    schema = '{"type": "object", "properties": {"rows": {"type": "integer"}}}'
    await world.database.execute(
        "INSERT INTO job_definition "
        "(job_id, app, handler, stateful, config_schema, content_hash, instance_id) "
        f"VALUES ('known', 'app', 'a:b', 0, '{schema}', 'h', 'i')"
    )
    port = free_port()
    authority = await _certified(world, port)
    async with aiohttp.ClientSession(
        f"https://127.0.0.1:{port}",
        connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority)),
        timeout=TIMEOUT,
        raise_for_status=True,
    ) as client:
        found: dict[str, Any] = {}
        for at_once in (1, AT_ONCE):
            await _reviewed(client, world, 50, at_once)  # what is loaded with the first question
            found[f"{at_once} at once, ms"] = percentiles(await _reviewed(client, world, count, at_once))
    return found


async def _certified(world: World, port: int) -> str:
    """Start the operator with its webhook; the authority that has signed its certificate."""
    control_plane, here = world.control_plane, ("-n", world.namespace)
    control_plane.kubectl(*here, "create", "secret", "generic", _WEBHOOK)
    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
        body: dict[str, Any] = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": _WEBHOOK},
            "webhooks": [],
        }
        control_plane.kubectl("create", "-f", "-", input=json.dumps(body))
    process = world.start(
        PIKO_OPERATOR_ADMISSION_PORT=str(port),
        PIKO_OPERATOR_ADMISSION_SERVICE=_WEBHOOK,
        PIKO_OPERATOR_ADMISSION_CONFIGURATION=_WEBHOOK,
    )
    process.wait_for_line("admission_certificate_made")
    said = control_plane.kubectl(*here, "get", "secret", _WEBHOOK, "-o", "json").stdout
    return base64.b64decode(json.loads(said)["data"]["ca.crt"]).decode()


async def _reviewed(client: aiohttp.ClientSession, world: World, count: int, at_once: int) -> list[float]:
    """Milliseconds that each of `count` questions took."""
    numbers, taken = iter(range(count)), list[float]()
    name = f"{_WEBHOOK}.{world.namespace}.svc"

    async def ask_in_turn() -> None:
        for number in numbers:
            kind, spec, before = _ASKED[number % len(_ASKED)]
            body = _question(world.namespace, str(number), kind, spec, before)
            started = time.perf_counter()
            for path in ("/form", "/admission"):
                async with client.post(path, data=body, server_hostname=name) as answer:
                    said = await answer.read()
                assert json.loads(said)["response"]["allowed"], said
            taken.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(ask_in_turn() for _ in range(at_once)))
    return taken


def _question(
    namespace: str, uid: str, kind: str, spec: dict[str, Any], before: dict[str, Any] | None
) -> bytes:
    """The AdmissionReview about a resource."""
    resource = {
        "apiVersion": "piko.dev/v1",
        "kind": kind,
        "metadata": {"name": "one", "namespace": namespace},
    }
    request = {
        "uid": uid,
        "kind": {"group": "piko.dev", "version": "v1", "kind": kind},
        "namespace": namespace,
        "operation": "CREATE" if before is None else "UPDATE",
        "object": {**resource, "spec": spec},
        "oldObject": None if before is None else {**resource, "spec": before},
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review).encode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2_000, help="how many resources it is asked about")
    asyncio.run(with_world(partial(measure_reviews, count=parser.parse_args().count)))
