"""WSGI application of the sample service."""

from bottle_service.service import start_worker

from .app import SERVICE

app = start_worker(SERVICE)
