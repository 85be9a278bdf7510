"""`kubectl piko`: which resource or pod it finds on a real API server, and what it does there or refuses."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from piko.cli.answers import Output
from piko.cli.at_resource import OwningResource, ResourceAct, act_of, owner_among, patch_of, schedule_of
from piko.cli.backfill_resource import BackfillSwitch, RangeAsked, body_of, read_backfill
from piko.cli.in_pod import Pod, choose, in_pod
from piko.cli.kubectl_options import PluginCall, output_of, read_call
from piko.errors import NotFoundError, RefusedError
from tests.cli.piko import CANNOT, OK, Ended, ended_by, kubectl_piko
from tests.harness.control_plane import ControlPlane
from tests.harness.waiting import PATIENCE_S
from tests.operator.tenants import bind

_LISTS_PODS = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
_POD = Pod(namespace="data", name="piko-runtime-0", release="piko", component="runtime", ready=True)


@pytest.mark.parametrize(
    ("typed", "options", "command"),
    [
        ("status", {}, "status"),
        ("-n data --context=prod jobs", {"--namespace": "data", "--context": "prod"}, "jobs"),
        ("jobs a -n data -o yaml", {"--namespace": "data"}, "jobs a -o yaml"),
        ("trigger a --context=prod", {"--context": "prod"}, "trigger a"),
        ("-n data runs -n 5 --job a", {"--namespace": "data"}, "runs -n 5 --job a"),
        (
            "uninstall --context=prod -n data --in a",
            {"--context": "prod", "--namespace": "data"},
            "uninstall --in a",
        ),
        ("runs --namespace data -n 5", {"--namespace": "data"}, "runs -n 5"),
        ("-n data pause --namespace team", {"--namespace": "data"}, "pause --namespace team"),
        ("next orders -n 3 --context=prod", {"--context": "prod"}, "next orders -n 3"),
        ("backfill status -n 3 --release two", {"--release": "two"}, "backfill status -n 3"),
        ("next -f a.yaml -n 3", {}, "next -f a.yaml -n 3"),
        ("jobs -- -n", {}, "jobs -- -n"),
    ],
)
def test_options_of_kubectl_stand_before_the_command_or_behind_it(
    typed: str, options: dict[str, str], command: str
) -> None:
    assert read_call(typed.split()) == PluginCall(options=options, command=command.split())


@pytest.mark.parametrize("typed", ["-A status", "status -A", "status --all-namespaces"])
def test_all_namespaces_are_asked_for_as_with_kubectl(typed: str) -> None:
    assert read_call(typed.split()) == PluginCall(options={}, command=["status"], everywhere=True)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("--colour x status", "--colour: is not known before the command"),
        ("-n", "-n: expected a value"),
        ("status --context", "--context: expected a value"),
        ("runs -n data", "A namespace goes before it: kubectl piko -n data runs"),
    ],
)
def test_an_option_that_is_misplaced_is_refused_with_what_is_expected(typed: str, text: str) -> None:
    with pytest.raises(RefusedError, match=text):
        read_call(typed.split())


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("jobs", Output.TEXT),
        ("jobs -o yaml", Output.YAML),
        ("jobs --output=json", Output.JSON),
        ("jobs -o csv", Output.TEXT),
        ("jobs -o", Output.TEXT),
    ],
)
def test_the_form_of_the_answer_is_known_before_the_command_runs(command: str, output: Output) -> None:
    assert output_of(command.split()) is output


def test_a_ready_pod_of_the_runtime_goes_before_others() -> None:
    web = replace(_POD, name="piko-web-0", component="web")
    unready = replace(_POD, name="piko-runtime-00", ready=False)
    assert choose([web, unready, _POD], release=None, name=None) == _POD
    assert choose([web, unready], release=None, name=None) == web
    assert choose([web, _POD], release="piko", name="piko-web-0") == web
    other = replace(_POD, release="other")
    with pytest.raises(RefusedError, match="several releases are in this namespace: other, piko"):
        choose([_POD, other], release=None, name=None)
    assert choose([_POD, other], release="other", name=None) == other
    with pytest.raises(NotFoundError, match="name its namespace with -n"):
        choose([], release=None, name=None)
    with pytest.raises(NotFoundError, match="for --release none; there are piko/piko-runtime-0"):
        choose([_POD], release="none", name=None)


def test_what_runs_in_the_pod_knows_who_asked_and_how_wide_the_terminal_is() -> None:
    name = "kubectl piko -n data"
    asked = in_pod(_POD, ["pause", "a"], user="maria", columns=120, called_as=name)
    where, what = asked[: asked.index("--")], asked[asked.index("--") + 1 :]
    assert where == ["exec", "-n", "data", "piko-runtime-0", "-c", "runtime"]
    called = f"KUBECTL_PIKO_CALLED_AS={name}"
    assert what == ["env", "LOGNAME=maria", "COLUMNS=120", called, "piko", "pause", "a"]
    piped = in_pod(_POD, ["status", "-w"], user=None, columns=None, called_as=name)
    assert piped[piped.index("--") :] == ["--", "env", called, "piko", "status", "-w"]
    assert "-it" not in piped
    assert "-it" in in_pod(_POD, ["status", "-w"], user=None, columns=80, called_as=name)


_SCHEDULE = OwningResource(namespace="data", name="orders", served_by="piko/piko-operator", owns=True)


@pytest.mark.parametrize(
    ("command", "act"),
    [
        (["pause", "a"], ResourceAct(verb="pause", job_id="a")),
        (
            ["resume", "a", "--reason", "it is back"],
            ResourceAct(verb="resume", job_id="a", reason="it is back"),
        ),
        (
            ["pause", "a", "--reason=down", "--dry-run"],
            ResourceAct(verb="pause", job_id="a", reason="down", dry_run=True),
        ),
        (["trigger", "a"], ResourceAct(verb="trigger", job_id="a")),
        (["trigger", "a", "-o", "json"], ResourceAct(verb="trigger", job_id="a", output=Output.JSON)),
        (
            ["trigger", "a", "--output=yaml", "--dry-run"],
            ResourceAct(verb="trigger", job_id="a", output=Output.YAML, dry_run=True),
        ),
    ],
)
def test_an_act_whose_options_a_resource_knows_is_done_there(command: list[str], act: ResourceAct) -> None:
    assert act_of(command) == act


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["pause"],
        ["pause", "--late"],
        ["pause", "a", "--until", "2h"],
        ["pause", "a", "--reason"],
        ["pause", "a", "-o", "json"],
        ["trigger", "a", "--wait", "5"],
        ["trigger", "a", "--window", "2026-01-08"],
        ["trigger", "a", "-o", "wide"],
        ["trigger", "a", "-o"],
    ],
)
def test_what_a_resource_does_not_know_is_left_to_the_command(command: list[str]) -> None:
    assert act_of(command) is None


def test_a_patch_says_what_to_do_and_keeps_why() -> None:
    act = ResourceAct(verb="pause", job_id="a", reason="down", dry_run=True)
    words = patch_of(_SCHEDULE, act, annotations={"piko.dev/reason": "down"})
    assert words[:7] == ["patch", "pikoschedules.piko.dev", "orders", "-n", "data", "--type", "merge"]
    annotated = {"metadata": {"annotations": {"piko.dev/reason": "down"}}}
    assert json.loads(words[8]) == {"spec": {"suspend": True}, **annotated}
    assert words[9:] == ["--field-manager=kubectl-piko", "--dry-run=server"]
    trigger = patch_of(
        _SCHEDULE, ResourceAct(verb="trigger", job_id="a"), annotations={"piko.dev/trigger": "1"}
    )
    assert json.loads(trigger[8]) == {"metadata": {"annotations": {"piko.dev/trigger": "1"}}}
    assert trigger[9:] == ["--field-manager=kubectl-piko"]


def test_of_several_resources_the_one_that_owns_the_row_is_meant() -> None:
    loser = replace(_SCHEDULE, namespace="other", owns=False)
    assert owner_among([loser, _SCHEDULE], "a", namespace=None) == _SCHEDULE
    assert owner_among([loser], "a", namespace=None) is None, "its row is another's"
    second = replace(_SCHEDULE, namespace="late", served_by="two/piko-operator")
    assert owner_among([second, _SCHEDULE], "a", namespace="late") == second
    assert owner_among([second, _SCHEDULE], "a", namespace="piko") == _SCHEDULE, "whose operator is there"
    for namespace in (None, "elsewhere"):
        with pytest.raises(RefusedError, match="several resources declare it: data/orders, late/orders"):
            owner_among([second, _SCHEDULE], "a", namespace=namespace)


@pytest.mark.parametrize(
    ("reason", "owns"), [("Synced", True), ("Drifted", True), ("InvalidSpec", True), ("Conflict", False)]
)
def test_a_resource_says_whether_the_row_is_its_own(reason: str, owns: bool) -> None:
    conditions = [{"type": "Ready", "reason": "Conflict"}, {"type": "Synced", "reason": reason}]
    status = {"servedBy": "piko/piko-operator", "conditions": conditions}
    meta = {"namespace": "data", "name": "orders"}
    assert schedule_of({"metadata": meta, "status": status}) == replace(_SCHEDULE, owns=owns)
    assert schedule_of({"metadata": meta}) == replace(_SCHEDULE, served_by="", owns=True)


_JANUARY = RangeAsked(job_id="a", start="2026-01-01", end="2026-02-01")


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("backfill a --from 2026-01-01 --to 2026-02-01", _JANUARY),
        ("backfill start a --from=2026-01-01 --to=2026-02-01", _JANUARY),
        (
            "backfill a --to 2026-02-01 --from 2026-01-01 --parallel 4 --reason late -o json",
            replace(_JANUARY, parallel=4, reason="late", output=Output.JSON),
        ),
        ("backfill pause 01ab", BackfillSwitch(verb="pause", backfill="01ab")),
        (
            "backfill resume 01ab --reason=back --dry-run",
            BackfillSwitch(verb="resume", backfill="01ab", reason="back", dry_run=True),
        ),
    ],
)
def test_a_backfill_whose_options_a_resource_knows_is_asked_for_by_one(
    typed: str, asked: RangeAsked | BackfillSwitch
) -> None:
    assert read_backfill(typed.split()) == asked


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "runs",
        "backfill",
        "backfill status",
        "backfill status 01ab",
        "backfill cancel 01ab",
        "backfill pause",
        "backfill pause 01ab -o json",
        "backfill a",
        "backfill a --from 2026-01-01",
        "backfill a --from 2026-01-01 --to",
        "backfill a --from 2026-01-01 --to 2026-02-01 --dry-run",
        "backfill a --from 2026-01-01 --to 2026-02-01 -o wide",
        "backfill a --from 2026-01-01 --to 2026-02-01 --parallel many",
        "backfill a --from 2026-01-01 --to 2026-02-01 --dsn sqlite:///x",
        "backfill --from 2026-01-01 --to 2026-02-01 a",
    ],
)
def test_a_backfill_that_a_resource_does_not_know_is_left_to_the_command(typed: str) -> None:
    assert read_backfill(typed.split()) is None


def test_the_resource_of_a_backfill_reads_instants_in_the_zone_of_its_schedule() -> None:
    here = replace(_SCHEDULE, zone="Asia/Shanghai", class_name="blue")
    body = body_of(here, replace(_JANUARY, reason="late", parallel=4))
    assert body["metadata"] == {
        "generateName": "orders-",
        "namespace": "data",
        "annotations": {"piko.dev/reason": "late"},
    }
    assert body["spec"] == {
        "jobId": "a",
        "from": "2025-12-31T16:00:00Z",
        "to": "2026-01-31T16:00:00Z",
        "parallel": 4,
        "ttlAfterFinished": "168h",
        "className": "blue",
    }
    with pytest.raises(
        RefusedError, match="--from = '2026-01-01': the PikoSchedule data/orders names no zone"
    ):
        body_of(_SCHEDULE, _JANUARY)
    exact = body_of(_SCHEDULE, replace(_JANUARY, start="2026-01-01T00:00:00Z", end="2026-01-02T00:00+08:00"))
    assert (exact["spec"]["from"], exact["spec"]["to"]) == ("2026-01-01T00:00:00Z", "2026-01-01T16:00:00Z")
    assert "annotations" not in exact["metadata"]
    assert "className" not in exact["spec"]


def _kubectl_piko(control_plane: ControlPlane, *arguments: str, cwd: Path) -> tuple[int, str]:
    """As kubectl runs its plugin."""
    answer = kubectl_piko(*arguments, cwd=cwd, kubeconfig=control_plane.admin_kubeconfig)
    return answer.code, answer.out + answer.err


def test_it_finds_the_pod_on_a_real_api_server_and_asks_to_execute_there(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    namespace = control_plane.create_namespace()
    try:
        code, text = _kubectl_piko(control_plane, "-n", namespace, "status", cwd=tmp_path)
        assert (code, "no running pod of Piko in this namespace" in text) == (CANNOT, True)
        labels = {"piko.dev/component": "runtime", "app.kubernetes.io/instance": "trial"}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "trial-runtime-0", "namespace": namespace, "labels": labels},
            "spec": {
                "nodeName": "nowhere",
                "automountServiceAccountToken": False,
                "containers": [{"name": "runtime", "image": "piko"}],
            },
        }
        control_plane.kubectl("create", "-f", "-", input=json.dumps(body))
        patch = json.dumps({"status": {"phase": "Running"}})
        control_plane.kubectl(
            *f"-n {namespace} patch pod trial-runtime-0 --subresource=status -p".split(), patch
        )
        # There is no node: the API server has found the pod, and says that its node cannot be reached.
        code, text = _kubectl_piko(control_plane, "-n", namespace, "status", cwd=tmp_path)
        assert code not in (OK, CANNOT)
        assert "nowhere" in text
        viewer = control_plane.service_account_kubeconfig(namespace, "viewer")
        bind(control_plane, "viewer", _LISTS_PODS, account=(namespace, "viewer"), namespaces=[namespace])
        control_plane.until_may(
            f"system:serviceaccount:{namespace}:viewer", "list", "pods", namespace=namespace
        )
        refused = kubectl_piko("-n", namespace, "settings", cwd=tmp_path, kubeconfig=viewer)
        assert (refused.code, refused.out) == (CANNOT, "")
        assert f"you lack the right to create pods/exec in namespace {namespace}" in refused.err
        code, text = _kubectl_piko(control_plane, "-n", namespace, "--release=x", "jobs", cwd=tmp_path)
        assert (code, "there are trial/trial-runtime-0" in text) == (CANNOT, True)
        code, text = _kubectl_piko(control_plane, "next", "0 3 * * *", "-n", "1", cwd=tmp_path)
        assert (code, "03:00" in text) == (OK, True)
        code, text = _kubectl_piko(control_plane, "run", "app:app", cwd=tmp_path)
        assert (code, "the chart runs replicas" in text) == (CANNOT, True)
    finally:
        control_plane.remove_namespace(namespace)


@pytest.mark.usefixtures("programs")
def test_a_command_about_files_runs_where_they_are(tmp_path: Path) -> None:
    answer = kubectl_piko(
        *("import", "crontab", "-"),
        cwd=tmp_path,
        kubeconfig=tmp_path / "none",
        stdin="0 2 * * * backup\n",
        PATH="/nowhere",
    )
    assert (answer.code, "name: backup" in answer.out) == (0, True), answer.err


_KUBECTL_THAT_RUNS = f"""#!/bin/sh
case "$*" in
*"get pods"*) echo '{{"items": [{{"metadata": {{"name": "one", "namespace": "data",
  "labels": {{"piko.dev/component": "runtime"}}}}}}]}}' ;;
*" exec "*|exec*) echo begun; exec sleep {PATIENCE_S:.0f} ;;
*) echo '{{}}' ;;
esac
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_a_command_in_a_pod_ends_the_kubectl_that_it_has_become(
    tmp_path: Path, number: signal.Signals
) -> None:
    tool = tmp_path / "kubectl"
    tool.write_text(_KUBECTL_THAT_RUNS, encoding="utf-8")
    tool.chmod(0o755)
    ended = ended_by(
        number,
        *("--pod", "one", "logs", "orders", "-f"),
        cwd=tmp_path,
        kubeconfig=tmp_path / "none",
        until="begun",
        PATH=f"{tmp_path}:/usr/bin:/bin",
    )
    assert ended == Ended(code=-number, err="", children=0, left=[])
