"""The names that are public: a change here is a change for everybody who uses Piko."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType

import pytest

from piko import errors

EXPORTED = MappingProxyType(
    {
        "piko": """
            BackfillPolicy DataInterval JobContext JobFailure JobLateness JobRecovery Objective PikoApp
            ResultSink TypedSink WriteIntent autodiscover on resource
        """,
        "piko.app": "PikoApp",
        "piko.clock": "Clock DatabaseClock Slices SystemClock",
        "piko.compute.cpu": "CpuManager",
        "piko.core.context": "EventLogger JobContext",
        "piko.core.discovery": "autodiscover",
        "piko.core.hooks": "HookEvent JobFailure JobLateness JobRecovery",
        "piko.core.resource": "AppContext Resource ResourceFunction ResourceSource Scope resource",
        "piko.core.types": """
            BackfillPolicy BackfillState DataInterval FAILED_STATES FINAL_STATES JobStatus Objective
            OverlapPolicy RunState TriggerType
        """,
        "piko.errors": """
            ComputeError ConfigError DatabaseRefusedError DatabaseUnavailableError DeadlockError
            DiscoveryError FencedError HandlerGoesOnError InputError ItemError LeaseUnavailableError
            ManifestError MigrationError NotFoundError PayloadError PikoError ReadOnlyError RefusedError
            RegistrationError ResourceError RowsLockedError RunError ScheduleError SchemaError
            SchemaVersionError SessionLockError SettingsError SpoolError StaleError TransientError
            WorkerLostError
        """,
        "piko.persistence.intent": "WriteIntent",
        "piko.persistence.sink_base": "Durability ResultSink TypedSink on",
        "piko.persistence.sinks": "JsonLinesSink SqlTableSink",
        "piko.replica.running": "RunningReplica",
        "piko.testing": "FinishedRun Timeline TimelineRun run_job",
        "piko.settings": "Settings load_settings trace_settings",
    }
)
_MOST_WITHOUT_WORDS = 3
_REFUSED_BY_NAME = {"unknown"}
"""What takes arguments that do not exist, to refuse them with a message."""
MIDDLE = {
    errors.TransientError,
    errors.InputError,
    errors.SchemaError,
    errors.RunError,
    errors.ComputeError,
    errors.FencedError,
}


@pytest.mark.parametrize("name", EXPORTED)
def test_a_public_module_exports_these_names_and_each_is_there(name: str) -> None:
    module = import_module(name)
    assert sorted(module.__all__) == sorted(EXPORTED[name].split())
    for exported in module.__all__:
        member = getattr(module, exported)
        assert inspect.getdoc(member) or not (inspect.isclass(member) or inspect.isroutine(member)), exported


def test_a_name_that_the_package_does_not_export_is_an_error_of_its_own() -> None:
    piko = import_module("piko")
    assert set(piko.__all__) <= set(dir(piko))
    with pytest.raises(AttributeError, match=r"module 'piko' has no attribute 'Application'"):
        piko.Application  # noqa: B018


def _callables(module: ModuleType) -> Iterator[tuple[str, Callable[..., object], str]]:
    """Functions, methods and constructors that `module` exports and defines, with what documents each.

    A constructor that a dataclass has made of its fields is documented at these.
    """
    for exported in module.__all__:
        member = getattr(module, exported)
        if inspect.isfunction(member):
            yield exported, member, inspect.getdoc(member) or ""
        for name, item in vars(member).items() if inspect.isclass(member) else ():
            made = name == "__init__" and is_dataclass(member)
            if inspect.isfunction(item) and (name == "__init__" or not name.startswith("_")) and not made:
                of_class = (inspect.getdoc(member) or "") if name == "__init__" else ""
                yield f"{exported}.{name}", item, f"{inspect.getdoc(item) or ''}\n{of_class}"


@pytest.mark.parametrize("name", EXPORTED)
def test_each_of_more_than_three_parameters_is_documented(name: str) -> None:
    missing = []
    for where, item, says in _callables(import_module(name)):
        given = [p for p in inspect.signature(item).parameters.values() if p.name != "self"]
        for parameter in given if len(given) > _MOST_WITHOUT_WORDS else ():
            documented = re.search(rf"`{parameter.name}\b", says)
            if not documented and parameter.name not in _REFUSED_BY_NAME:
                missing.append(f"{where}: {parameter.name}")
    assert missing == []


def test_every_error_is_exported_and_of_one_middle_kind() -> None:
    defined = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}
    assert {kind.__name__ for kind in defined} == set(errors.__all__)
    for kind in defined - {errors.PikoError}:
        assert len(MIDDLE.intersection(kind.__mro__)) == 1, kind
