"""The WSGI application, for servers: the only module that does something when it is imported."""

from bottle_service.service import start_worker

from .app import SERVICE

app = start_worker(SERVICE)
