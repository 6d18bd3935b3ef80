"""The tests of the service. `make test` runs them in one process, `make test-server` against a server."""
