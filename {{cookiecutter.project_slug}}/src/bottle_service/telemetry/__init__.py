"""Telemetry: log entries, the access log, and metrics over all workers of a server."""
