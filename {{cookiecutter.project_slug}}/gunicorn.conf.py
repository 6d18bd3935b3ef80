"""Gunicorn's settings (https://gunicorn.org/reference/settings/).

`serve` passes the service's settings in variables SERVE_*. After a reload, workers read the
service's settings again.
"""

import os

from bottle_service.servers.gunicorn_hooks import (  # noqa: F401
    ServiceLogger,
    on_starting,
    post_fork,
    post_worker_init,
    when_ready,
)

bind = os.environ["SERVE_BIND"]  # ignored if systemd passes a socket
umask = 0o007  # a unix socket is for the service's own group

worker_class = os.environ["SERVE_WORKER_CLASS"]
workers = int(os.environ["SERVE_WEB_CONCURRENCY"])
threads = int(os.environ["SERVE_WEB_THREADS"])

# deploy/README.md lists all timeouts (in seconds) and how they depend on each other.
graceful_timeout = 40
timeout = 60  # of a worker's heartbeat, not of a request
keepalive = 75  # longer than Nginx's 60, so that Nginx closes idle connections first

# A heartbeat file on a slow disk would stall the workers.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
control_socket_disable = True
http_parser = "python"

# The limit of Nginx (large_client_header_buffers), which counts each header separately.
limit_request_line = 8190

# ProxyHeadersMiddleware handles the headers of proxies. Over a unix socket Gunicorn would trust
# these headers from any client.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

logger_class = ServiceLogger
loglevel = os.environ["SERVE_LOG_LEVEL"].lower()
