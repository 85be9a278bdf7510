"""The names that are public: a change here is a change for everybody who uses Piko."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import MappingProxyType

import pytest

from piko import errors

EXPORTED = MappingProxyType(
    {
        "piko": """
            BackfillPolicy DataInterval JobContext Objective PikoApp ResultSink TypedSink WriteIntent
            autodiscover on resource
        """,
        "piko.app": "PikoApp",
        "piko.clock": "Clock DatabaseClock Slices SystemClock",
        "piko.compute.cpu": "CpuManager",
        "piko.core.context": "EventLogger JobContext",
        "piko.core.discovery": "autodiscover",
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


def test_every_error_is_exported_and_of_one_middle_kind() -> None:
    defined = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}
    assert {kind.__name__ for kind in defined} == set(errors.__all__)
    for kind in defined - {errors.PikoError}:
        assert len(MIDDLE.intersection(kind.__mro__)) == 1, kind
