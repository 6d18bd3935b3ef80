"""Request context: concurrent and nested requests never see each other's data."""

import subprocess
import sys
import threading
from typing import Any

import pytest
from bottle import request
from webtest import TestApp

from . import TEMPLATE
from .apps import build_app, client_for


def test_call_of_another_application_inside_a_handler_is_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inner = build_app(("GET", "/", lambda: "inner"))

    def outer() -> list[str]:
        TestApp(inner).get("/")
        return ["outer"]

    client_for(("GET", "/", outer)).get("/", status=500)
    assert "was an app called inside?" in str(caplog.records[0].exc_info)


def test_threads_do_not_share_requests() -> None:
    barrier = threading.Barrier(8, timeout=10)

    def echo(name: str) -> list[str]:
        barrier.wait()
        return [name, request.path]

    client = client_for(("GET", "/<name>", echo))
    mixed: list[Any] = []

    def call(name: str) -> None:
        for _ in range(20):
            response = client.get(f"/{name}").json
            if response != [name, f"/{name}"]:
                mixed.append(response)

    threads = [threading.Thread(target=call, args=[f"n{i}"]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []


@pytest.mark.parametrize(
    ("patched", "outcome"),
    [
        ("before-bottle", "{'own response'}"),
        ("after-bottle", "gevent: has patched threads after Bottle was imported; patch first"),
        ("after-application", "{500}"),  # as Gunicorn's preload_app does
    ],
)
def test_greenlets_do_not_share_requests(patched: str, outcome: str) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-m", "tests.package.programs.greenlets", patched],
        cwd=TEMPLATE, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert outcome in (done.stdout or done.stderr)
