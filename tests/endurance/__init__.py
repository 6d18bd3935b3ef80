"""Long-running scripts inside a generated service; each prints its figures as JSON."""
