"""Which resources an operator serves, and which namespace may claim which jobs: pure rules.

A class separates releases: an operator serves the resources whose `className` is its own, and does not touch
any other. Tenants separate namespaces: where there are any, a namespace may claim only the jobs that a tenant
it belongs to has. What is refused names nothing that belongs to another namespace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from piko.text import listed
from piko_operator.resources import Manifest, PikoBackfill, PikoSchedule

_PATTERN = re.compile(r"[A-Za-z0-9_.:-]*[*]?")
_PATTERN_EXPECTED = "expected a name, or the beginning of one and a *, such as orders_*"
_TENANTS_EXPECTED = 'expected a JSON list such as [{"namespaces": ["orders"], "jobs": ["orders_*"]}]'
_KEYS = ("namespaces", "jobs", "adopt", "groups")
_REMEDY = "ask who operates Piko to extend the tenant (chart value operator.tenants)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """What some namespaces may do; each text is a name, or the beginning of one and a `*`.

    - `namespaces`: whom this concerns.
    - `jobs`: the job ids that they may claim.
    - `adopt`: the jobs whose rows they may take over from SQL.
    - `groups`: the concurrency groups that they may join; None: those that match `jobs`.
    """

    namespaces: tuple[str, ...]
    jobs: tuple[str, ...]
    adopt: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None


def read_tenants(text: str) -> tuple[Tenant, ...]:
    """The tenants of a JSON list, or none of an empty text. Raises `ValueError` with what was expected."""
    if not text:
        return ()
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(_TENANTS_EXPECTED) from None
    if not isinstance(items, list):
        raise ValueError(_TENANTS_EXPECTED)  # noqa: TRY004 pydantic collects ValueErrors only
    return tuple(_tenant(item, number) for number, item in enumerate(items))


def serves(spec: Mapping[str, Any], class_name: str | None) -> bool:
    """Whether an operator of that class serves a resource with this spec."""
    return spec.get("className") == class_name


def not_allowed(resource: Manifest, tenants: Sequence[Tenant]) -> str | None:
    """Why the namespace of `resource` may not have it; None if it may. Without tenants all is allowed."""
    if not tenants:
        return None
    return next(_refusals(resource, _of(resource.metadata.namespace, tenants)), None)


def in_another_place(owner: str, other: str | None) -> bool:
    """Whether the owners of a job's schedule and of its config are in different namespaces."""
    return other is not None and owner.split("/")[:2] != other.split("/")[:2]


def _tenant(item: object, number: int) -> Tenant:
    where = f"tenants[{number}]"
    if not isinstance(item, dict) or not {"namespaces", "jobs"} <= item.keys():
        raise ValueError(f"{where}: expected an object with namespaces and jobs")
    for key, patterns in item.items():
        if key not in _KEYS:
            raise ValueError(f"{where}.{key}: unknown; expected {', '.join(_KEYS)}")
        if not isinstance(patterns, list) or not all(
            isinstance(pattern, str) and pattern and _PATTERN.fullmatch(pattern) for pattern in patterns
        ):
            raise ValueError(f"{where}.{key}: expected a list; of each item: {_PATTERN_EXPECTED}")
    return Tenant(**{key: tuple(patterns) for key, patterns in item.items()})


def _refusals(resource: Manifest, mine: Sequence[Tenant]) -> Iterator[str]:
    spec, namespace = resource.spec, resource.metadata.namespace
    jobs = [pattern for tenant in mine for pattern in tenant.jobs]
    if not _matches(spec.job_id, jobs):
        yield (
            f"spec.jobId: {spec.job_id!r}: namespace {namespace} may not claim this job; "
            f"expected {_expected(jobs)}; choose another jobId, or {_REMEDY}"
        )
    if isinstance(resource, PikoBackfill):
        return
    adoptable = [pattern for tenant in mine for pattern in tenant.adopt]
    if resource.spec.adoption_policy == "Adopt" and not _matches(spec.job_id, adoptable):
        yield (
            f"spec.adoptionPolicy: 'Adopt': namespace {namespace} may not take over the row of job "
            f"{spec.job_id!r} from SQL; expected Refuse; or {_REMEDY}"
        )
    group = resource.spec.overlap.group if isinstance(resource, PikoSchedule) else None
    groups = [pattern for tenant in mine for pattern in _groups(tenant)]
    if group is not None and not _matches(group, groups):
        yield (
            f"spec.overlap.group: {group!r}: namespace {namespace} may not join this group; "
            f"expected {_expected(groups)}; choose another group, or {_REMEDY}"
        )


def _groups(tenant: Tenant) -> Sequence[str]:
    return tenant.jobs if tenant.groups is None else tenant.groups


def _of(namespace: str, tenants: Iterable[Tenant]) -> list[Tenant]:
    return [tenant for tenant in tenants if _matches(namespace, tenant.namespaces)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns
    )


def _expected(patterns: Sequence[str]) -> str:
    return listed(dict.fromkeys(patterns)) if patterns else "none, because no tenant has this namespace"
