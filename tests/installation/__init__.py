"""Installation: first run, `make new`, `.venv`, locks and wheels. These tests need a package index."""
