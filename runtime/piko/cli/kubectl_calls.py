"""Calls of the user's own kubectl: it has their cluster, their identity and their rights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from piko.errors import NotFoundError, RefusedError

_PASSED = ("--namespace", "--context", "--kubeconfig")


given_options: ContextVar[Mapping[str, str]] = ContextVar("given_options", default={})  # noqa: B039 never changed
"""Options of kubectl with which the plugin was called, for commands that read the cluster themselves."""


class KubectlError(RefusedError):
    """kubectl ended with an error; `answer` is what it said."""

    def __init__(self, message: str, *, answer: str) -> None:
        super().__init__(message)
        self.answer = answer

    @property
    def forbids(self) -> bool:
        """Whether the user lacks the right."""
        return "(Forbidden)" in self.answer


class Kubectl:
    """kubectl with the options that came before the command. Raises `NotFoundError` if there is none."""

    def __init__(self, options: Mapping[str, str]) -> None:
        found = shutil.which("kubectl")
        if found is None:
            raise NotFoundError("kubectl is not on the PATH, and it is what reaches the cluster; install it")
        self._command = [found, *(f"{name}={options[name]}" for name in _PASSED if name in options)]

    def become(self, words: Sequence[str]) -> NoReturn:
        """Run it in place of this process: signals reach it, and its end is the end of the command."""
        sys.stdout.flush()
        sys.stderr.flush()
        command = [*self._command, *words]
        os.execv(command[0], command)  # noqa: S606

    @contextmanager
    def child(self, words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """It as a process, which ends with the context at the latest."""
        pipe = subprocess.PIPE
        command = [*self._command, *words]
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def text(self, words: Sequence[str], *, stdin: str | None = None) -> str:
        """What it prints; `stdin` is what it reads. Raises `KubectlError`."""
        done = subprocess.run(  # noqa: S603
            [*self._command, *words], input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode:
            answer = done.stderr.strip() or "no answer"
            raise KubectlError(f"kubectl {words[0]} {words[1]}: {answer}", answer=answer)
        return done.stdout

    def asked(self, words: Sequence[str]) -> dict[str, Any]:
        """The object that it prints as JSON. Raises `KubectlError`."""
        answer: dict[str, Any] = json.loads(self.text([*words, "-o", "json"]))
        return answer

    def may(self, verb: str, resource: str, *, namespace: str) -> bool:
        """Whether the user has the right there; True if the cluster does not say."""
        resource, _, part = resource.partition("/")
        words = ["auth", "can-i", verb, resource, f"--subresource={part}", f"--namespace={namespace}"]
        done = subprocess.run(  # noqa: S603
            [*self._command, *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() != "no"

    def user(self) -> str | None:
        """The name by which the cluster knows the user; None if it does not say."""
        try:
            answer = self.asked(["auth", "whoami"])
        except KubectlError:  # an old cluster, or one that does not say
            return None
        name = answer.get("status", {}).get("userInfo", {}).get("username")
        return str(name) if name else None
