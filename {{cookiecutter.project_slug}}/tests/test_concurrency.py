"""Requests at the same time: none sees anything of another."""

# <% if cookiecutter.wsgi_server == "gunicorn" %>
import subprocess
import sys
# <% endif %>
import threading
from typing import Any

import pytest
from bottle import request
from webtest import TestApp

# <% if cookiecutter.wsgi_server == "gunicorn" %>
from .service import ROOT
# <% endif %>
from .stack import build, client, public


def test_a_call_of_another_application_inside_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    inner = build(lambda app: public(app, "/", lambda: "inner"))

    def outer() -> list[str]:
        TestApp(inner).get("/")
        return ["outer"]

    client(lambda app: public(app, "/", outer)).get("/", status=500)
    assert "another request's" in str(caplog.records[0].exc_info)


def test_threads_do_not_mix() -> None:
    barrier = threading.Barrier(8, timeout=10)

    def handler(name: str) -> list[str]:
        barrier.wait()
        return [name, request.path]

    app = client(lambda app: public(app, "/<name>", handler))
    wrong: list[Any] = []

    def call(name: str) -> None:
        for _ in range(20):
            answer = app.get(f"/{name}").json
            if answer != [name, f"/{name}"]:
                wrong.append(answer)

    threads = [threading.Thread(target=call, args=[f"n{i}"]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
# <% if cookiecutter.wsgi_server == "gunicorn" %>


# A hundred greenlets, each of which waits within its request, in an interpreter of their own.
GREENLETS = """
import sys
from gevent import monkey, pool, sleep

when = sys.argv[1]
if when == "first":
    monkey.patch_all()
from bottle import request
from webtest import TestApp
from tests.stack import build, public

def handler(name):
    sleep(0.001)
    return [name, request.path]

if when == "late":
    monkey.patch_all()
app = TestApp(build(lambda app: public(app, "/<name>", handler)))
if when == "after the application":
    monkey.patch_all()

def call(number):
    answer = app.get(f"/n{number}", expect_errors=True)
    right = [f"n{number}", f"/n{number}"]
    return answer.status_int if answer.json != right else "right"

print(set(pool.Pool(20).imap_unordered(call, range(100))))
"""


@pytest.mark.parametrize(
    ("patched", "outcome"),
    [
        ("first", "{'right'}"),
        ("late", "gevent: has patched threads after Bottle was imported; patch first"),
        ("after the application", "{500}"),  # as Gunicorn's preload_app does
    ],
)
def test_greenlets_do_not_mix(patched: str, outcome: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREENLETS, patched],
        cwd=ROOT, env={"PYTHONPATH": "src"}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert outcome in (done.stdout or done.stderr)
# <% endif %>
