"""The WSGI servers: one module for each, with `check`, `serve` and `prepare_worker`."""
