"""Settings of the sample service."""

from bottle_service.servers.gunicorn import WorkerClass
from bottle_service.settings import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """The settings of a service that each server can run."""

    worker_class: WorkerClass = "gthread"
