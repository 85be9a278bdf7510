"""Whatever a resource file or a schedule holds, there is an answer: what it says, or what is wrong with it.

`FUZZ_EXAMPLES` sets how many inputs each test tries.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piko.errors import ScheduleError
from piko.schedule import explain, parse_schedule
from piko_operator.checks import schedule_of
from piko_operator.manifests import read_manifests
from piko_operator.mapping import config_row, schedule_row
from piko_operator.resources import PikoJobConfig, PikoSchedule

_fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "300")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)

SCHEDULE = """\
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: nightly, namespace: data}
spec:
  jobId: nightly
  schedule: {cron: "30 2 * * *"}
  timeZone: Europe/Berlin
  suspend: no
  startAt: 2026-01-08T10:00:00Z
  jitter: 5s
  overlap: {policy: Queue, maxInstances: 1}
  retry: &r {maxAttempts: 3, backoff: 1m30s}
---
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: often}
spec:
  jobId: often
  schedule: {interval: {every: 10s}}
"""
CONFIG = """\
# limits
apiVersion: piko.dev/v1
kind: PikoJobConfig
metadata:
  name: nightly
spec:
  jobId: nightly
  schemaVersion: 2
  effectiveFrom: "2026-12-01T00:00:00Z"
  config:
    concurrency: 200
    rates: [1, 2.5, 1e3, 0x1F]
    text: |
      some
      lines
"""
FIELDS = """\
{"apiVersion": "v1", "kind": "List", "items": [
 {"apiVersion": "piko.dev/v1", "kind": "PikoSchedule", "metadata": {"name": "x"},
  "spec": {"jobId": "x", "schedule": {"cron": {"hour": 3, "dayOfWeek": "mon-fri"}}}}]}
"""


def _any_of(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words.split())


_SHARDS = _any_of(
    "{ } [ ] : , - ? & * ! | > ' \" % @ ` # ~ = << --- ... é 😀 &a *a *r !!int !!str !!binary !!set .nan "
    '.inf 1e999 0o17 010 1_000 12:30:00 2026-01-08 yes no null "\\ud800" {{ }} {?[a]:1} [[[[ []]] {a:{a:{a: '
    "PikoSchedule piko.dev/v1 kind: spec: config: items: <<:*r H L W 5m -5m * / 59/15"
) | st.sampled_from(["\t", "\n", "\r", "\0", "\x07", "\x85", "\u2028", "\ufeff", " ", "\n  ", "\n---\n"])
_texts = st.sampled_from([SCHEDULE, CONFIG, FIELDS])


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    text = draw(_texts)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text)))
        to = min(len(text), at + draw(st.sampled_from([0, 0, 1, 2, 5, 40])))
        shard = draw(_SHARDS | st.text(max_size=8))
        text = text[:at] + shard * draw(st.sampled_from([1, 1, 1, 2, 100])) + text[to:]
    content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=4)) + content[at:]
    return content


_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**4000, max_value=10**4001)
    | st.floats()
    | st.text(max_size=20)
    | st.datetimes()
    | st.binary(max_size=8)
    | st.sampled_from(["5m", "@daily", "* * * * *", "UTC", "Skip", "2026-01-08", "=", "<<", "12:30:00"])
)
_trees = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=6)
            | st.integers()
            | st.booleans()
            | st.sampled_from(["cron", "interval", "every", "date", "runDate", "hour", "policy"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_fields = sorted(
    {str(item.alias) for item in PikoSchedule.model_fields["spec"].annotation.model_fields.values()}  # type: ignore[union-attr]
)


@st.composite
def _grown(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["PikoSchedule", "PikoJobConfig"]))
    spec: dict[Any, Any] = (
        {"jobId": "x", "schedule": {"cron": "@daily"}}
        if kind == "PikoSchedule"
        else {"jobId": "x", "config": draw(_trees)}
    )
    spec |= draw(st.dictionaries(st.sampled_from([*_fields, "config", "configFrom"]), _trees, max_size=3))
    document = {"apiVersion": "piko.dev/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    document |= draw(
        st.dictionaries(st.sampled_from(["metadata", "status", "kind", "spec"]), _trees, max_size=1)
    )
    return yaml.dump(document, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")


def _check(content: bytes) -> None:
    found = read_manifests(content, "x.yaml")
    breaks = ("\n", "\r", "\x85", "\u2028", "\u2029")  # of YAML 1.1
    lines = 1 + sum(content.count(sign.encode()) for sign in breaks)
    for problem in found.problems:
        assert "bug in Piko" not in problem.message
        assert problem.line is None or 1 <= problem.line <= lines
        assert len(str(problem)) < 2000
    for placed in found.resources:
        assert 1 <= placed.line_of("spec", "jobId") <= lines
        if isinstance(placed.resource, PikoSchedule):
            schedule_row(placed.resource, owner="dev/default/x/x.yaml")
            with suppress(ScheduleError):
                explain(schedule_of(placed.resource, "UTC"), now=_NOW, count=2)
        elif isinstance(placed.resource, PikoJobConfig):
            assert config_row(placed.resource, owner=None).config_json.encode("utf-8")


@_fuzz
@given(_mutated())
def test_a_mutated_manifest_has_an_answer(content: bytes) -> None:
    _check(content)


@_fuzz
@given(_grown())
def test_a_manifest_of_anything_has_an_answer(content: bytes) -> None:
    _check(content)


_words = _any_of(
    "* ? L W LW H # / - , 0 5 59 60 1-5 */5 59/15 1-59/2 mon MON sun jan 5L 15W H/5 H(0-9) 5#3 @hourly @x "
    "TZ=UTC 99999999999999999999 -1"
)
_keys = _any_of(
    "every weeks days hours minutes seconds start_date end_date run_date year month day week day_of_week "
    "hour minute second cron jitter"
)
_cron = st.lists(_words | st.text("0123456789*/,-LWH#?monjan", max_size=6), min_size=1, max_size=8).map(
    " ".join
)
_expressions = (
    _cron
    | _cron.map(lambda text: json.dumps({"cron": text}))
    | _trees.map(lambda tree: json.dumps(tree, default=str, skipkeys=True))
    | st.text(max_size=30)
    | st.dictionaries(_keys, _leaves | _words, max_size=4).map(lambda tree: json.dumps(tree, default=str))
)


@_fuzz
@given(
    kind=st.sampled_from(["cron", "interval", "date", "never"]),
    expression=_expressions,
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Mars/Base", "", "../etc/passwd"]),
)
def test_a_schedule_of_anything_has_an_answer(kind: str, expression: str, zone: str) -> None:
    with suppress(ScheduleError):
        schedule = parse_schedule(job_id="x", schedule_type=kind, schedule_expr=expression, timezone=zone)
        explanation = explain(schedule, now=_NOW, count=2)
        assert explanation.sentence
        assert len(explanation.instants) <= 2
