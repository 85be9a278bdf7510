"""Traces of what a replica does. It imports nothing of OpenTelemetry unless the program has set it up."""
