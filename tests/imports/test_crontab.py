"""A crontab as resources: what is translated, what is left, and why."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.imports.crontab import read_crontab
from piko.imports.translations import Left, Translated, checked

NOW = datetime(2026, 1, 8, tzinfo=UTC)


def only(text: str, *, with_user: bool = False, zone: str | None = None) -> Translated:
    found, left = read_crontab(text, with_user=with_user, zone=zone)
    assert left == []
    (item,) = found
    return item


def why_left(text: str) -> str:
    found, left = read_crontab(text)
    assert found == []
    (item,) = left
    return item.why


@pytest.mark.parametrize(
    ("times", "cron"),
    [
        ("*/5 * * * *", "*/5 * * * *"),
        ("0 2 1-7 * mon", "0 2 1-7 * mon"),
        ("0\t2  *  jan-mar\t0,6", "0 2 * jan-mar 0,6"),
        ("@daily", "@daily"),
        ("@Midnight", "@midnight"),
        ("~ 3 * * *", "H 3 * * *"),
        ("15~45 3 * * *", "H(15-45) 3 * * *"),
        ("50~ ~6 * * *", "H(50-59) H(0-6) * * *"),
    ],
)
def test_times_are_written_as_piko_reads_them(times: str, cron: str) -> None:
    item = only(f"{times} /usr/bin/backup full")
    assert item.spec == {"schedule": {"cron": cron}}
    assert isinstance(checked(item, zone="UTC", now=NOW), Translated)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup --full", "backup"),
        ("cd /srv/shop && ./bin/Import_Orders.sh -a >> /var/log/x 2>&1", "import-orders"),
        ("LANG=C nice -n 10 python3 -m reports.daily", "reports-daily"),
        ("timeout 10m sudo bash /opt/clean.sh", "clean"),
        ("mysqldump shop | gzip > /x.gz", "mysqldump"),
        ('echo "without an end', "echo"),
        ("python3", "python3"),
        ("&&", "job"),
        ("x" * 100, "x" * 50),
    ],
)
def test_a_job_is_named_by_what_its_command_runs(command: str, name: str) -> None:
    assert only(f"0 2 * * * {command}").name == name


def test_jobs_of_one_command_have_names_of_their_own() -> None:
    found, _ = read_crontab("0 2 * * * backup a\n0 3 * * * backup b\n0 4 * * * backup c")
    assert [item.name for item in found] == ["backup", "backup-2", "backup-3"]


def test_a_zone_holds_for_the_lines_below_it() -> None:
    found, left = read_crontab(
        "0 1 * * * a\nCRON_TZ=Europe/Berlin\n0 2 * * * b\nCRON_TZ = 'Asia/Tokyo'\n@daily c", zone="UTC"
    )
    assert [item.spec["timeZone"] for item in found] == ["UTC", "Europe/Berlin", "Asia/Tokyo"]
    assert left == []


def test_the_user_of_a_system_crontab_is_no_part_of_the_command() -> None:
    item = only("17 * * * * root cd / && run-parts /etc/cron.hourly", with_user=True)
    assert (item.name, item.notes) == ("run-parts", ("It ran as the user root.",))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("MAILTO=ops@example.com", "a variable has no counterpart"),
        ("@reboot /usr/bin/warm", "no start of a machine"),
        ("@fortnightly /usr/bin/pay", "@fortnightly is not known; expected one of @annually"),
        ("0,30~40 * * * * x", "a random value within a list"),
        ("*/5 * * * *", "expected five fields and a command"),
        ("@daily", "expected a name and a command"),
    ],
)
def test_what_has_no_counterpart_is_left_with_the_reason(line: str, why: str) -> None:
    assert why in why_left(line)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 25 * * * x", "hour (at character 3) = '25'"),
        ("0 0 30 2 * x", "never fires"),
        ("CRON_TZ=Europe/Berln\n0 0 * * * x", "did you mean Europe/Berlin?"),
    ],
)
def test_what_piko_refuses_is_left_in_the_words_of_the_operator(line: str, why: str) -> None:
    left = checked(only(line), zone="UTC", now=NOW)
    assert isinstance(left, Left)
    assert why in left.why


def test_lines_beyond_the_bound_are_counted_and_not_read() -> None:
    found, left = read_crontab("# x\n" * 10_000 + "0 2 * * * a\n" * 3)
    assert found == []
    assert [(item.line, item.what) for item in left] == [(10_001, "3 lines")]


@given(st.lists(st.text(max_size=60) | st.from_regex(r"[0-9*/,~ -]{5,20} [a-z|&;\"' ]{1,9}", fullmatch=True)))
def test_every_line_is_translated_or_left(lines: list[str]) -> None:
    text = "\n".join(line.replace("\r", " ") for line in lines)
    found, left = read_crontab(text)
    said = {item.line for item in found} | {item.line for item in left}
    for number, line in enumerate(text.splitlines(), start=1):
        silent = not line.strip() or line.strip().startswith("#") or "CRON_TZ" in line
        assert silent or number in said
    assert len({item.name for item in found}) == len(found)
    for item in found:
        checked(item, zone="UTC", now=NOW)
