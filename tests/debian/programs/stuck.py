"""Wrapper of create_app whose requests wait while /run/stuck exists; a test adds it to a release."""

import os
import time
from collections.abc import Callable
from typing import Any

Create = Callable[..., Any]


def stuck(create_app: Create) -> Create:
    """Return a create_app whose application waits before each response."""

    def create(*arguments: Any) -> Any:
        app = create_app(*arguments)
        respond = app.wsgi

        def wait(environ: dict[str, Any], start_response: Any) -> Any:
            while os.path.exists("/run/stuck"):
                time.sleep(0.1)
            return respond(environ, start_response)

        app.__dict__["wsgi"] = wait
        return app

    return create
