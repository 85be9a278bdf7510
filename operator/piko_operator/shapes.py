"""Shapes of text in the custom resources: durations, instants, cron, zones.

Each rule is repeated in `crds/`, in CEL, where the API server checks it at `apply`. The texts are the same in
both places, so that a person sees the same message whether a file is checked offline or applied.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

JOB_ID = re.compile(r"[A-Za-z0-9_.:-]+")
JOB_ID_EXPECTED = "expected 1 to 128 of A-Z a-z 0-9 _ . : -"

ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
ZONE_EXPECTED = "expected an IANA zone such as UTC or Asia/Shanghai"

LABEL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_NAME_EXPECTED = "expected a name of a-z 0-9 -, with a letter or digit at both ends"

OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
OBJECT_NAME_EXPECTED = "expected a name of a-z 0-9 - ., with a letter or digit at both ends of each part"

DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
DATA_KEY_EXPECTED = "expected a key of A-Z a-z 0-9 - _ ."

CONFIG_PATH = re.compile(r"[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){0,15}")
CONFIG_PATH_EXPECTED = "expected at most 16 keys of A-Z a-z 0-9 _ - with dots between them, as in db.password"

DURATION = re.compile(r"([0-9]+d([0-9]+([.][0-9]+)?(ms|s|m|h))*|([0-9]+([.][0-9]+)?(ms|s|m|h))+)")
"""The duration of Go, after a whole number of days if there are any."""
DURATION_EXPECTED = "expected a duration such as 10s, 1h30m or 1d12h"
POSITIVE_DURATION_EXPECTED = "expected a duration longer than 0, such as 10s, 1h30m or 1d12h"
LONGEST_S = (2**63 - 1) / 10**9
"""Seconds of the longest duration that the API server accepts."""
LONGEST_EXPECTED = "expected a duration of at most 2562047h"
JITTER_EXPECTED = "expected a duration of at most 24h, such as 10s, 5m or 1h30m"

LOCAL_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
LOCAL_INSTANT_EXPECTED = "expected an instant such as 2026-01-08 10:00:00 or 2026-01-08T10:00:00+08:00"

INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
INSTANT_EXPECTED = "expected an instant with its offset, such as 2026-01-08T10:00:00Z"

_FIRST_YEAR = 1000

_CRON_FIELD = r"[0-9A-Za-z*/,?#()-]+"
CRON = re.compile(
    rf"\s*(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|{_CRON_FIELD}(\s+{_CRON_FIELD}){{4,5}})\s*"
)
CRON_ZONE = re.compile(r"\s*(CRON_)?TZ=", re.IGNORECASE)
CRON_ZONE_EXPECTED = "expected a cron text without a time zone; the zone goes into spec.timeZone"
CRON_EXPECTED = "expected five cron fields, six with seconds first, or a name such as @hourly"

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = re.compile(r"([0-9]+(?:[.][0-9]+)?)(ms|s|m|h|d)")


def duration_seconds(text: str) -> float:
    """Seconds of a duration such as `1h30m` or `1d12h`; a day has 24 hours.

    Raises `ValueError` with what was expected.
    """
    if not DURATION.fullmatch(text):
        raise ValueError(DURATION_EXPECTED)
    # The database keeps microseconds; rounding removes the error of binary fractions.
    return round(sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _DURATION_PART.findall(text)), 6)


def duration_text(seconds: float) -> str:
    """`seconds`, with microseconds, as the resources write it: `1h30m`, `1.234s`."""
    whole, fraction = divmod(round(seconds * 1_000_000), 1_000_000)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    last = f"{rest}.{fraction:06d}".rstrip("0") if fraction else str(rest)
    parts = (
        f"{hours}h" if hours else "",
        f"{minutes}m" if minutes else "",
        f"{last}s" if last != "0" else "",
    )
    return "".join(parts) or "0s"


def parse_instant(text: str) -> datetime:
    """An instant with its offset, as UTC. Raises `ValueError` with what was expected."""
    if not INSTANT.fullmatch(text):
        raise ValueError(INSTANT_EXPECTED)
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(INSTANT_EXPECTED) from None
    if moment.year < _FIRST_YEAR:
        raise ValueError(f"expected an instant from the year {_FIRST_YEAR} on, which databases keep")
    return moment


def check_local_instant(text: str) -> str:
    """`text`, if it is an instant with or without offset. Raises `ValueError` with what was expected."""
    if not LOCAL_INSTANT.fullmatch(text):
        raise ValueError(LOCAL_INSTANT_EXPECTED)
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(LOCAL_INSTANT_EXPECTED) from None
    return text
