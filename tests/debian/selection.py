"""Machines that tests run on, chosen by suite and server."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

Test = Callable[..., None]


class HostSpec(NamedTuple):
    """Debian suite and WSGI server of a machine."""

    suite: str
    server: str

    def __str__(self) -> str:
        return f"{self.suite}-{self.server}"

    @property
    def speaks_http(self) -> bool:
        """Whether the server can listen on a TCP port for HTTP."""
        return self.server != "uwsgi"

    @property
    def has_workers(self) -> bool:
        """Whether the server has a master process and workers."""
        return self.server != "waitress"


HOSTS = {
    str(spec): spec
    for suite in ("trixie", "bookworm")
    for spec in (HostSpec(suite, server) for server in ("gunicorn", "waitress", "uwsgi"))
}


def on(*names: str) -> pytest.MarkDecorator:
    """Run a test on these machines, such as "trixie-gunicorn"."""
    return pytest.mark.parametrize("host", [HOSTS[name] for name in names], ids=str, indirect=True)


# Each server on Debian 13, and Gunicorn on Debian 12. The other two machines run test_install.py only.
MOST = [spec for spec in HOSTS.values() if spec.suite == "trixie" or spec.server == "gunicorn"]

# For tests that depend neither on the server nor on the suite.
once = on("trixie-gunicorn")
# For tests that differ by how the server starts and stops.
on_each_server = on(*(str(spec) for spec in MOST if spec.suite == "trixie"))
# For tests that take long.
on_most = on(*map(str, MOST))
on_servers_with_http = on(*(str(spec) for spec in MOST if spec.speaks_http))
on_servers_with_workers = on(*(str(spec) for spec in MOST if spec.has_workers))
on_gunicorn = on(*(str(spec) for spec in MOST if spec.server == "gunicorn"))


def measured(test: Test) -> Test:
    """Mark a test for `make availability`, which runs it three times."""
    marked: Test = pytest.mark.availability(pytest.mark.usefixtures("turn")(test))
    return marked
