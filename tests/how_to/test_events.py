"""docs/how-to/events.md: its tests, and streams through Nginx while both processes restart."""

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..support.fixtures import Generate, Needs
from ..support.http_client import DOMAIN
from ..support.nginx_stack import NginxStack
from ..support.process import run, terminate
from .steps import check, follow

NOTES, EVENTS = "/api/v1/notes", "/api/v1/events"


def test_events_are_sent_beside_the_service(copied: Generate, needs: Needs, tmp_path: Path) -> None:
    needs("nginx", "openssl", "systemd-analyze")
    project = copied()
    follow(project, "events.md")
    check(project)
    verify_unit(project, tmp_path)
    directory = tmp_path / "stack"
    directory.mkdir()
    stack = NginxStack(project, directory, changed={"/run/my-service-events/": f"{directory}/"})
    with stack.service_running(), stack.nginx_running():
        with serving_events(stack):
            assert stack.get(EVENTS).status == 401
            assert stack.get(EVENTS, Authorization="Bearer wrong").status == 401
            with closing(Stream(stack)) as first, closing(Stream(stack)) as second:
                created = add_note(stack)
                assert first.next_id() == second.next_id() == created
                stack.stop_service()  # a restart of the service does not cut the streams
                stack.start_service()
                assert add_note(stack) == first.next_id() == second.next_id()
                last = created + 1
                began = time.monotonic()
        assert time.monotonic() - began < 10  # open streams do not delay the stop
        missed = add_note(stack)
        with serving_events(stack), closing(Stream(stack, last)) as stream:
            assert stream.next_id() == missed
    assert "Traceback" not in (directory / "service.log").read_text()


def verify_unit(project: Path, directory: Path) -> None:
    """Check that systemd reads each line of the unit; an unknown one would only be a warning."""
    unit = (project / "deploy/systemd/my-service-events.service").read_text()
    copy = directory / "my-service-events.service"
    copy.write_text(unit.replace("/opt/my-service/current", str(project)))
    assert run("systemd-analyze", "verify", copy, cwd=directory) == ""


@contextmanager
def serving_events(stack: NginxStack) -> Iterator[None]:
    """Run the command of the page, with the settings of the service."""
    uds = stack.directory / "http.sock"
    command = [".venv/bin/python", "-m", "my_service", "serve-events", "--uds", str(uds)]
    with (stack.directory / "events.log").open("a") as log:
        process = subprocess.Popen(command, cwd=stack.project, env=stack.environ, stderr=log)
    try:
        ends = time.monotonic() + 20
        while stack.get(EVENTS).status != 401:
            assert time.monotonic() < ends, (stack.directory / "events.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        terminate(process)


def add_note(stack: NginxStack) -> int:
    """Add a note over the service and return its ID."""
    headers = {"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"}
    response = stack.request("POST", NOTES, b'{"title": "Hello"}', **headers)
    assert response.status == 201
    return int(json.loads(response.body)["id"])


class Stream:
    """A stream of events through Nginx."""

    def __init__(self, stack: NginxStack, last: int | None = None) -> None:
        headers = {"Authorization": f"Bearer {stack.token}"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.connection = http.client.HTTPConnection(DOMAIN)
        self.connection.sock = stack.connect()
        self.connection.request("GET", EVENTS, headers=headers)
        self.response = self.connection.getresponse()
        assert self.response.status == 200
        assert self.response.headers["Content-Type"].startswith("text/event-stream")
        assert len(self.response.headers.get_all("Cache-Control", [])) == 1
        assert self.response.readline().startswith(b"retry: ")

    def next_id(self) -> int:
        """Wait for the next event and return its ID."""
        while line := self.response.readline():
            if line.startswith(b"id: "):
                return int(line.removeprefix(b"id: "))
        raise AssertionError("the stream has ended")

    def close(self) -> None:
        self.connection.close()
