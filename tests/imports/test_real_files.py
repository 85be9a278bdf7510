"""Files as others write them: entries of Debian's packages, and a CronJob as an API server gives it back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piko.imports.cronjobs import read_cronjobs
from piko.imports.crontab import read_crontab
from tests.harness.control_plane import ControlPlane

# As Debian 12 installs them in /etc: crontab, and cron.d/ of anacron, certbot, e2fsprogs and sysstat.
_DEBIAN = {
    "cron": (
        "SHELL=/bin/sh\n"
        "PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin\n\n"
        "17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly\n"
        "25 6\t* * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }\n"
        "47 6\t* * 7\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.weekly; }\n"
        "52 6\t1 * *\troot\ttest -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.monthly; }\n",
        ["17 * * * *", "25 6 * * *", "47 6 * * 7", "52 6 1 * *"],
    ),
    "anacron": (
        "30 7-23 * * *   root\t[ -x /etc/init.d/anacron ] && if [ ! -d /run/systemd/system ]; then "
        "/usr/sbin/invoke-rc.d anacron start >/dev/null; fi\n",
        ["30 7-23 * * *"],
    ),
    "certbot": (
        "0 */12 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system && "
        "perl -e 'sleep int(rand(43200))' && certbot -q renew --no-random-sleep-on-renew\n",
        ["0 */12 * * *"],
    ),
    "e2fsprogs": (
        "30 3 * * 0 root test -e /run/systemd/system || SERVICE_MODE=1 "
        "/usr/lib/x86_64-linux-gnu/e2fsprogs/e2scrub_all_cron\n"
        "10 3 * * * root test -e /run/systemd/system || SERVICE_MODE=1 /sbin/e2scrub_all -A -r\n",
        ["30 3 * * 0", "10 3 * * *"],
    ),
    "sysstat": (
        "PATH=/usr/lib/sysstat:/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin\n\n"
        "# Activity reports every 10 minutes everyday\n"
        "5-55/10 * * * * root command -v debian-sa1 > /dev/null && debian-sa1 1 1\n\n"
        "# Additional run at 23:59 to rotate the statistics file\n"
        "59 23 * * * root command -v debian-sa1 > /dev/null && debian-sa1 60 2\n",
        ["5-55/10 * * * *", "59 23 * * *"],
    ),
}
_CRONJOB = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly-report, labels: {app: report}}
spec:
  schedule: "30 2 * * *"
  timeZone: Europe/Berlin
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 600
  jobTemplate:
    spec:
      backoffLimit: 2
      activeDeadlineSeconds: 1800
      template:
        spec:
          restartPolicy: Never
          containers:
            - {name: report, image: "reports:7", command: [python, -m, reports.nightly]}
"""


@pytest.mark.parametrize("package", _DEBIAN)
def test_every_entry_of_a_package_becomes_a_schedule(package: str) -> None:
    text, expressions = _DEBIAN[package]
    found, left = read_crontab(text, with_user=True)
    assert [item.spec["schedule"]["cron"] for item in found] == expressions
    assert all("a variable has no counterpart" in item.why for item in left)
    assert len({item.name for item in found}) == len(expressions)


def test_a_cronjob_as_an_api_server_gives_it_back_is_translated(
    crds: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    crds.kubectl("apply", "-n", namespace, "-f", "-", input=_CRONJOB)
    given = crds.kubectl("get", "cronjob", "-n", namespace, "-o", "yaml", "--show-managed-fields").stdout
    assert "successfulJobsHistoryLimit: 3" in given, "a default of the server's"
    [item], left = read_cronjobs(given)
    assert left == []
    assert item.spec == {
        "schedule": {"cron": "30 2 * * *"},
        "timeZone": "Europe/Berlin",
        "overlap": {"policy": "Skip"},
        "misfireGrace": "600s",
        "retry": {"maxAttempts": 3},
        "timeout": "1800s",
        "history": {"successful": 3, "failed": 1},
    }
    assert any("reports:7" in note for note in item.notes)
    (tmp_path / "resource.json").write_text(json.dumps(item.resource), encoding="utf-8")
    crds.kubectl("apply", "-n", namespace, "-f", str(tmp_path / "resource.json"))
