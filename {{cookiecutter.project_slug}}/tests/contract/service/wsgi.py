"""The WSGI application of the service under test, for servers."""

from bottle_service.service import start_worker

from . import SERVICE

app = start_worker(SERVICE)
