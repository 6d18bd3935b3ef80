"""Marks of tests that run with some of the servers only."""

import pytest

with_workers = pytest.mark.parametrize("server", ["gunicorn", "uwsgi"], indirect=True)
# uWSGI is called in its own protocol.
with_http = pytest.mark.parametrize("server", ["gunicorn", "waitress"], indirect=True)
with_gunicorn = pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
with_uwsgi = pytest.mark.parametrize("server", ["uwsgi"], indirect=True)
