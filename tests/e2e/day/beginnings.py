"""The release is installed, and has two hundred resources to serve."""

from __future__ import annotations

import base64
import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from tests.e2e.day.place import Place
from tests.e2e.day.resources import (
    CODE,
    CONFIG_KEY,
    JOBS,
    LEAVING_JOBS,
    STATEFUL_EVERY,
    STAYING_JOBS,
    digest_of,
    due_before,
    job,
    manifests,
    secret_of,
    values,
)
from tests.e2e.load import GREET

_BEHIND_MONTHS = 3


def install(place: Place) -> list[str]:
    """With a key that encrypts the secret parts of configs."""
    cluster = place.cluster
    place.release.make_place()
    for namespace in place.resources.namespaces:
        cluster.kubectl("create", "namespace", namespace)
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    cluster.kubectl("create", "secret", "generic", CONFIG_KEY, f"--from-literal=key={key}")
    cluster.kubectl("apply", "-f", "-", given=json.dumps(CODE))
    place.release.upgrade(tag=place.tag, further=values(CONFIG_KEY))
    cluster.kubectl("apply", "-f", "-", given=GREET)
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=300s", "psch/greet")
    return []


def apply_by_server(place: Place) -> list[str]:
    """Two hundred resources by server-side apply; each has its row, and is Ready."""
    begin = time.monotonic()
    for cluster, numbers in ((place.staying, STAYING_JOBS), (place.leaving, LEAVING_JOBS)):
        given = manifests(numbers, namespace=cluster.namespace)
        cluster.kubectl("apply", "--server-side", "--field-manager=day", "-f", "-", given=given)
    applied = time.monotonic()
    count = (
        "SELECT (SELECT COUNT(*) FROM scheduled_job WHERE managed_by LIKE '%/day-%') "
        "+ (SELECT COUNT(*) FROM job_config WHERE managed_by LIKE '%/day-%')"
    )
    rows = 2 * JOBS
    place.cluster.wait("all have their rows", lambda: int(place.database.sql(count)) == rows)
    written = time.monotonic()
    place.resources.wait_until_ready(2 * JOBS)
    place.say(
        f"{2 * JOBS} resources in {applied - begin:.1f} s; {written - applied:.1f} s later each has its row, "
        f"{time.monotonic() - applied:.1f} s later each is Ready"
    )
    _work_off_windows(place)
    return []


def _work_off_windows(place: Place) -> None:
    """Give the stateful jobs a watermark of some months ago, and wait until they have come up to date."""
    now = datetime.now(UTC)
    jobs = ", ".join(f"'{job(number)}'" for number in range(0, JOBS, STATEFUL_EVERY))
    old, new = (f"{due_before(now, months=months):%Y-%m-%d %H:%M:%S}" for months in (_BEHIND_MONTHS, 0))
    place.database.sql(f"UPDATE scheduled_job SET last_data_time = '{old}' WHERE job_id IN ({jobs})")
    count = f"SELECT COUNT(*) FROM scheduled_job WHERE job_id IN ({jobs}) AND last_data_time = '{new}'"
    behind = len(range(0, JOBS, STATEFUL_EVERY))
    place.cluster.wait("all windows have run", lambda: int(place.database.sql(count)) == behind)
    place.say(f"{behind} jobs have worked off {_BEHIND_MONTHS} windows each, up to {new}")


def hide_secrets(place: Place) -> list[str]:
    """A run has what its config takes from a Secret; the tables have it encrypted only."""
    number = next(number for number in STAYING_JOBS if secret_of(number) is not None)
    secret = str(secret_of(number))
    state, result = _run_once(place, job(number))
    troubles = []
    if state != "SUCCESS" or result != {"number": number, "digest": digest_of(secret)}:
        troubles.append(f"a run with a secret is {state} and returned {result}")
    tables = place.database.sql("SHOW TABLES").split()
    dump = place.database.sql("; ".join(f"SELECT * FROM `{table}`" for table in tables))
    if "not-to-be-seen" in dump:
        troubles.append("the tables hold a secret as plain text")
    encrypted = dump.count("$encrypted")
    place.say(
        f"{job(number)} had its secret; a dump of {len(tables)} tables has {encrypted} encrypted, none plain"
    )
    return troubles if encrypted else [*troubles, "the tables hold nothing that is encrypted"]


def _run_once(place: Place, name: str) -> tuple[str, dict[str, Any]]:
    """The state of a run of the job, and what it returned."""
    place.staying.kubectl("annotate", "psch", name, f"piko.dev/trigger={time.time()}", "--overwrite")
    place.staying.kubectl("wait", "--for=condition=Triggered", "--timeout=300s", f"psch/{name}")
    run_id = place.staying.kubectl("get", "psch", name, "-o", "jsonpath={.status.trigger.runId}")
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        found.update(place.cluster.piko("runs", "show", run_id))
        return found["run"]["state"] not in ("QUEUED", "RUNNING") and found["log"] is not None

    place.cluster.wait("the run ends", has_ended)
    return found["run"]["state"], json.loads(found["log"]["result"] or "{}")


def annotate(place: Place) -> list[str]:
    """A schedule is paused and resumed by an annotation, and compared at once by another."""
    name = job(2)
    enabled = f"SELECT enabled FROM scheduled_job WHERE job_id = '{name}'"

    def is_enabled(value: int) -> bool:
        return int(place.database.sql(enabled)) == value

    def status(path: str) -> str:
        return place.staying.kubectl("get", "psch", name, "-o", f"jsonpath={{.status.{path}}}")

    place.staying.kubectl("annotate", "psch", name, "piko.dev/paused=the source moves")
    place.cluster.wait("the row is disabled", lambda: is_enabled(0))
    place.cluster.wait("the status says so", lambda: status("paused") == "the source moves")
    place.staying.kubectl("annotate", "psch", name, "piko.dev/paused-")
    place.cluster.wait("the row is enabled", lambda: is_enabled(1))
    for kind, path in (("psch", f"psch/{name}"), ("pjc", f"pjc/{name}")):
        place.staying.kubectl("annotate", path, "piko.dev/reconcile-at=now")
        jsonpath = "jsonpath={.status.lastHandledReconcileAt}"
        place.cluster.wait(
            f"{kind} is compared",
            lambda path=path, jsonpath=jsonpath: (  # type: ignore[misc]
                place.staying.kubectl("get", path, "-o", jsonpath) == "now"
            ),
        )
    place.say(f"{name} was paused and resumed, schedule and config were compared")
    return []
