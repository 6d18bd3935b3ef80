"""Send a hundred requests from greenlets, each of which waits within its request.

The argument says when gevent patches the standard library: before Bottle is imported, after the
import, or after the application was made. Prints the set of outcomes.
"""

import sys
from typing import Any

from gevent import monkey, pool, sleep

when = sys.argv[1]
if when == "before-bottle":
    monkey.patch_all()

from bottle import request  # noqa: E402
from webtest import TestApp  # noqa: E402

from tests.package.apps import build_app  # noqa: E402


def echo(name: str) -> list[str]:
    sleep(0.001)
    return [name, request.path]


if when == "after-bottle":
    monkey.patch_all()
client = TestApp(build_app(("GET", "/<name>", echo)))
if when == "after-application":
    monkey.patch_all()


def call(number: int) -> Any:
    response = client.get(f"/n{number}", expect_errors=True)
    expected = [f"n{number}", f"/n{number}"]
    return response.status_int if response.json != expected else "own response"


print(set(pool.Pool(20).imap_unordered(call, range(100))))
