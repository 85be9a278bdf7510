"""Calls to the API server: credentials of a pod, kept connections, and servers that are no help."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from piko.clock import SystemClock
from piko.errors import LeaseUnavailableError, SettingsError
from piko.leadership import api_access
from piko.leadership.api_access import ApiAccess, access_in_pod, find_access
from piko.leadership.api_server import ApiServer
from tests.harness.control_plane import ControlPlane, write_kubeconfig
from tests.harness.pods import leading_pod, service_account_files, service_environment
from tests.harness.waiting import PATIENCE_S
from tests.leadership.clocks import MovableClock

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NO_ANSWER_S = 600.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def pod(folder: Path, control_plane: ControlPlane, *, token: str) -> dict[str, str]:
    """A pod's files in `folder`, and its environment."""
    service_account_files(folder, ca_file=control_plane.ca_file, token=token)
    return service_environment(control_plane.url)


def server_of(access: ApiAccess, *, timeout_s: float = 30) -> ApiServer:
    async def found() -> ApiAccess:
        return access

    return ApiServer(find_access=found, timeout_s=timeout_s)


@asynccontextmanager
async def answering(answer: Answer, *, host: str = "127.0.0.1") -> AsyncIterator[ApiAccess]:
    """A server of plain HTTP whose connections are each `answer`ed; those that are open end with it."""
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        try:
            await answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            open_ones.discard(writer)
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    yield ApiAccess(host=host, port=port, tls=None, authorization=lambda: None)
    server.close()
    for writer in list(open_ones):
        writer.transport.abort()
    await asyncio.sleep(0)


async def head(reader: asyncio.StreamReader) -> bytes:
    """The head of the next request, whose body is read too."""
    text = await reader.readuntil(b"\r\n\r\n")
    length = int(text.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return text


# ---- a pod's credentials --------------------------------------------------------------------------


async def test_with_the_files_of_its_service_account_a_pod_is_let_in(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_access, "SERVICE_ACCOUNT", tmp_path / "pod")
    for name, value in leading_pod(control_plane, tmp_path / "pod", namespace=namespace).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KUBECONFIG", "/nowhere")  # in a pod nobody asks for it
    assert not api_access.needs_kubeconfig()
    server = ApiServer(find_access=partial(find_access, clock=SystemClock()), timeout_s=30)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status, answer = await server.call(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review
    )
    await server.close()
    assert (status, api_access.own_namespace()) == (201, namespace)
    user = json.loads(answer)["status"]["userInfo"]["username"]
    assert user == f"system:serviceaccount:{namespace}:leads"


async def test_the_token_is_read_again_each_minute_and_after_it_was_refused(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    clock, folder = MovableClock(), tmp_path / "pod"
    environment = leading_pod(control_plane, folder, namespace=namespace)
    first = (folder / "token").read_text()

    async def find() -> ApiAccess:
        return access_in_pod(environment, folder, clock=clock)

    server = ApiServer(find_access=find, timeout_s=30)
    assert (await server.call("GET", "/api"))[0] == 200
    (folder / "token").write_text("refused")
    assert (await server.call("GET", "/api"))[0] == 200, "not read again yet"
    clock.ahead_s = 60
    assert (await server.call("GET", "/api"))[0] == 401
    (folder / "token").write_text(first)
    assert (await server.call("GET", "/api"))[0] == 200, "read again at once"
    await server.close()


async def test_a_server_whose_certificate_names_another_gets_no_token(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    environment = pod(tmp_path / "pod", control_plane, token="a-secret")
    access = access_in_pod(environment, tmp_path / "pod", clock=SystemClock())
    server = server_of(replace(access, server_name="somebody.else"))
    with pytest.raises(OSError, match="certificate verify failed"):
        await server.call("GET", "/api")


@pytest.mark.parametrize(
    ("environment", "without", "says"),
    [
        ({}, "", "not in a pod"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "", "not in a pod"),
        ({"KUBERNETES_SERVICE_PORT": "tcp://10.0.0.1:443"}, "", "expected the number of a port"),
        ({"KUBERNETES_SERVICE_PORT": "443"}, "token", "automountServiceAccountToken"),
        ({"KUBERNETES_SERVICE_PORT": "443"}, "ca.crt", "automountServiceAccountToken"),
        ({"KUBERNETES_SERVICE_PORT": "443"}, "what is in token", "token is empty"),
    ],
)
def test_what_a_pod_lacks_is_said(
    environment: dict[str, str], without: str, says: str, control_plane: ControlPlane, tmp_path: Path
) -> None:
    pod(tmp_path / "pod", control_plane, token="abc")
    if without.startswith("what"):
        (tmp_path / "pod" / "token").write_text("\n")
    elif without:
        (tmp_path / "pod" / without).unlink()
    if environment:
        environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", **environment}
    with pytest.raises(LeaseUnavailableError, match=says):
        access_in_pod(environment, tmp_path / "pod", clock=SystemClock())


@pytest.mark.parametrize(
    ("host", "authority"),
    [("10.0.0.1", "10.0.0.1:443"), ("fd00::1", "[fd00::1]:443"), ("api.example", "api.example:443")],
)
def test_a_service_host_may_be_an_address_of_either_kind_or_a_name(
    host: str, authority: str, control_plane: ControlPlane, tmp_path: Path
) -> None:
    pod(tmp_path / "pod", control_plane, token="abc\n")
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    access = access_in_pod(environment, tmp_path / "pod", clock=SystemClock())
    assert access.authority == authority
    assert access.authorization() == "Bearer abc"


async def test_over_ipv6_the_request_names_its_host_in_brackets() -> None:
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await head(reader))
        writer.write(OK)
        await writer.drain()

    async with answering(answer, host="::1") as access:
        server = server_of(access)
        assert await server.call("GET", "/api") == (200, b"{}")
        await server.close()
    assert f"Host: [::1]:{access.port}\r\n".encode() in heads[0]


# ---- a KUBECONFIG ---------------------------------------------------------------------------------


async def test_a_kubeconfig_may_lead_below_a_path_of_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await head(reader))
        writer.write(OK)
        await writer.drain()

    async with answering(answer) as access:
        kubeconfig, nothing = tmp_path / "kubeconfig", tmp_path / "none.crt"
        nothing.touch()
        url = f"http://127.0.0.1:{access.port}/k8s/clusters/c-1/"
        write_kubeconfig(kubeconfig, url=url, ca_file=nothing, token="abc")
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        server = ApiServer(find_access=partial(find_access, clock=SystemClock()), timeout_s=30)
        assert await server.call("GET", "/api") == (200, b"{}")
        await server.close()
    assert heads[0].startswith(b"GET /k8s/clusters/c-1/api HTTP/1.1\r\n")
    assert b"Authorization: Bearer abc\r\n" in heads[0]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"proxy-url": "http://127.0.0.1:1"}, "names a proxy-url"),
        ({"server": "ftp://127.0.0.1"}, "KUBECONFIG cannot be used"),
        ({"server": "https://127.0.0.1:port"}, "KUBECONFIG cannot be used"),
        ({"certificate-authority": "/nowhere"}, "KUBECONFIG cannot be used .*/nowhere"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_refused_with_the_reason(
    changed: dict[str, str],
    says: str,
    control_plane: ControlPlane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, url=control_plane.url, ca_file=control_plane.ca_file, token="abc")
    document = json.loads(kubeconfig.read_text())
    document["clusters"][0]["cluster"].update(changed)
    kubeconfig.write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with pytest.raises(LeaseUnavailableError, match=says):
        await find_access(clock=SystemClock())


# ---- connections ----------------------------------------------------------------------------------


async def test_calls_share_one_connection_and_one_that_has_ended_is_replaced() -> None:
    served: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(0)
        for _ in range(3):  # then it closes, and says so to nobody
            await head(reader)
            served[-1] += 1
            writer.write(OK)
            await writer.drain()

    async with answering(answer) as access:
        server = server_of(access)
        for _ in range(6):
            assert await server.call("GET", "/api") == (200, b"{}")
        await server.close()
    assert served == [3, 3]


@pytest.mark.parametrize(("method", "sent"), [("GET", 2), ("PUT", 2), ("POST", 1)])
async def test_only_what_may_be_repeated_is_sent_again_where_a_kept_connection_breaks(
    method: str, sent: int
) -> None:
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await head(reader)
        if first.startswith(b"GET /first"):
            writer.write(OK)
            await writer.drain()
            first = await head(reader)
            requests.append(first)
            return  # without an answer
        requests.append(first)
        writer.write(OK)
        await writer.drain()

    async with answering(answer) as access:
        server = server_of(access)
        await server.call("GET", "/first")
        if method == "POST":
            with pytest.raises(OSError, match="closed the connection without an answer"):
                await server.call(method, "/second", body={})
        else:
            assert await server.call(method, "/second", body={}) == (200, b"{}")
        await server.close()
    assert len(requests) == sent


async def test_a_connection_that_the_server_wants_to_end_is_not_used_again() -> None:
    connections = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        await reader.read()

    async with answering(answer) as access:
        server = server_of(access)
        assert [await server.call("GET", "/api") for _ in range(2)] == [(200, b"{}")] * 2
        await server.close()
    assert len(connections) == 2


# ---- servers that are no help ---------------------------------------------------------------------


async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(NO_ANSWER_S)


async def trickling(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [silent, trickling])
async def test_a_call_that_hangs_ends_at_its_bound_and_the_next_begins_at_once(answer: Answer) -> None:
    hangs = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        if hangs:
            await answer(reader, writer)
        writer.write(OK)
        await writer.drain()

    async with answering(serve) as access:
        server = server_of(access, timeout_s=0.5)
        with pytest.raises(TimeoutError):
            await server.call("GET", "/api")
        hangs = False
        server._timeout_s = 30
        assert await server.call("GET", "/api") == (200, b"{}")
        await server.close()


async def test_a_call_that_hangs_ends_with_its_task_and_leaves_no_thread() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        asked.set()
        assert await reader.read() == b""
        left.set()

    threads = set(threading.enumerate())
    async with answering(answer) as access:
        call = asyncio.create_task(server_of(access, timeout_s=NO_ANSWER_S).call("GET", "/api"))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()  # the connection has ended
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b" " * 9_000_000, "longer than"),
    ],
    ids=["nothing", "another protocol", "half an answer", "far too much"],
)
async def test_an_answer_that_is_none_is_an_error_of_the_connection(text: bytes, says: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(text)
        await writer.drain()

    async with answering(answer) as access:
        with pytest.raises(OSError, match=says):
            await server_of(access).call("GET", "/api")


async def test_a_token_that_cannot_be_sent_is_not_shown() -> None:
    async with answering(silent) as access:
        server = server_of(replace(access, authorization=lambda: "Bearer se\ncret"))
        with pytest.raises(OSError, match="holds characters") as raised:
            await server.call("GET", "/api")
    assert "cret" not in str(raised.value)


async def test_a_host_that_is_no_name_is_an_error_of_the_connection() -> None:
    access = ApiAccess(host="a" * 300, port=443, tls=None, authorization=lambda: None)
    with pytest.raises(OSError, match="aaaa"):
        await server_of(access).call("GET", "/api")


def test_outside_a_pod_the_reader_of_a_kubeconfig_has_to_be_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kubernetes_asyncio", None)
    with pytest.raises(SettingsError, match=r"install piko\[kubernetes\]"):
        api_access.find_kubeconfig_reader()
