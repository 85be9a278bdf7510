"""A poison in a file is a problem of that file, and costs the documents beside it nothing."""

from __future__ import annotations

import pytest

from piko.json_object import read_object
from piko_operator.config_spec import to_json
from piko_operator.manifests import read_manifests
from piko_operator.resources import PikoJobConfig
from tests.poisons import HARMLESS, POISONS, Poison

_DOCUMENT = '{"apiVersion": "piko.dev/v1", "kind": "PikoJobConfig", "metadata": {"name": "%s"}, "spec": %s}'


def _file(config: str) -> bytes:
    poisoned = _DOCUMENT % ("poisoned", '{"jobId": "a", "config": ' + (config or "{") + "}")
    healthy = _DOCUMENT % ("healthy", '{"jobId": "b"}')
    return f"{poisoned}\n---\n{healthy}\n".encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("poison", POISONS, ids=str)
def test_a_poison_is_a_problem_of_its_document(poison: Poison) -> None:
    contents = read_manifests(_file(poison.text), "jobs.yaml")
    for problem in contents.problems:
        assert "please report" not in problem.message
        assert len(str(problem)) < 1_000
    taken = {placed.resource.metadata.name: placed.resource for placed in contents.resources}
    if "poisoned" in taken:  # YAML reads some of it as harmless: NaN is a text there
        assert isinstance(taken["poisoned"], PikoJobConfig)
        read_object(to_json(taken["poisoned"].spec.config))
    else:
        assert contents.problems


@pytest.mark.parametrize("config", HARMLESS, ids=lambda text: text[:20])
def test_what_is_only_odd_is_read(config: str) -> None:
    contents = read_manifests(
        (_DOCUMENT % ("odd", '{"jobId": "a", "config": ' + config + "}")).encode(), "a.json"
    )
    problems = [problem.message for problem in contents.problems]
    assert all("64 bits" in problem or "twice" in problem for problem in problems), problems
