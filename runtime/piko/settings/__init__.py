"""Settings: one loader for both programs, and the fields of a runtime replica."""

from __future__ import annotations

from piko.settings.runtime import Settings, load_settings, trace_settings

__all__ = ["Settings", "load_settings", "trace_settings"]
