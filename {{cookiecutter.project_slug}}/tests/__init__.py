"""The tests of the service. `make test` runs them in this process, `make live` against a server."""
