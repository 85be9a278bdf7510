"""What GitOps tools conclude from objects: by kstatus, Argo CD's Lua and Flux' CEL, as they run them.

The program that answers is `tests/harness/go/gitops`, built of the libraries of those tools.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.harness.locate import find_tool
from tests.harness.waiting import ANSWER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusions:
    """What each tool concludes of one object.

    - `kstatus`: `Current`, `InProgress`, `Failed` or `Terminating`.
    - `argo`: `Healthy`, `Progressing` or `Degraded`, and what it shows a person; None without a script.
    - `flux`: as `kstatus`, by the expressions; None without them.
    """

    kstatus: str
    argo: tuple[str, str] | None
    flux: str | None


def conclude(
    objects: Sequence[Mapping[str, Any]],
    *,
    scripts: Mapping[str, str] | None = None,
    expressions: Sequence[Mapping[str, str]] = (),
) -> list[Conclusions]:
    """The conclusions on each of `objects`, as the API server shows them.

    - `scripts`: health checks for Argo CD, by kind.
    - `expressions`: health check expressions for Flux, as a Kustomization has them.

    Raises `AssertionError` with what the program said, if a script or an expression cannot be evaluated.
    """
    question = {"objects": list(objects), "scripts": dict(scripts or {}), "expressions": list(expressions)}
    outcome = subprocess.run(
        [find_tool("gitops")],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
        timeout=ANSWER_S,
    )
    assert outcome.returncode == 0, outcome.stderr
    return [_conclusions(answer) for answer in json.loads(outcome.stdout)]


def _conclusions(answer: Mapping[str, Any]) -> Conclusions:
    argo, flux = answer.get("argo"), answer.get("flux")
    return Conclusions(
        kstatus=answer["kstatus"]["status"],
        argo=(argo["status"], argo["message"]) if argo else None,
        flux=flux["status"] if flux else None,
    )
