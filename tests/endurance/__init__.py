"""Scripts that run for long inside a generated service, each printing its figures as JSON."""
