"""The recipe of docs/asgi.md: typed as it stands, and the shared cases against what it starts."""

import os
import re
import secrets
import subprocess
from collections.abc import Callable

from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.markdown import blocks
from ..support.process import free_port, run

(CODE,) = blocks(TEMPLATE, "docs/asgi.md", "", "python")
(COMMAND,) = blocks(TEMPLATE, "docs/asgi.md")


def test_the_recipe(copied: Generate, needs: Callable[..., None]) -> None:
    needs("curl")
    project = copied()
    (project / "src" / "my_service" / "asgi.py").write_text(CODE)
    port, token = str(free_port()), secrets.token_urlsafe(32)
    settings = {"API_TOKENS": f"tester:{token}", "TRUSTED_PROXIES": "1", "PYTHONPATH": "src"}
    settings |= {"DATABASE_URL": f"sqlite:///{project}/asgi.sqlite3"}
    run("python", "-m", "my_service", "migrate", cwd=project, **settings)
    run("python", "-m", "my_service", "check", cwd=project, **settings)
    command = COMMAND.replace("8000", port).split()
    with (project / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=project, env={**os.environ, **settings}, stdout=log, stderr=log
        )
    try:
        # Answers only once it listens.
        ready = ["curl", "--silent", "--retry", "40", "--retry-connrefused", "--retry-delay", "0"]
        address = f"http://127.0.0.1:{port}"
        run(*ready, "--retry-max-time", "20", f"{address}/livez", cwd=project)
        chunked = ["curl", "--silent", "--header", f"Authorization: Bearer {token}"]
        chunked += [
            "--header",
            "Transfer-Encoding: chunked",
            "--header",
            "Content-Type: application/json",
        ]
        answer = run(*chunked, "--data", "{}", f"{address}/api/v1/notes", cwd=project)
        assert '"status":411' in answer
        other = "not (test_a_path_that_is_not_utf8)"
        cases = run("pytest", "--server", address, "--token", token, "-k", other, cwd=project)
    finally:
        server.terminate()
        server.wait(20)
    assert re.search(r"^[0-9]{2} shared cases passed", cases, re.MULTILINE)
    assert "Traceback" not in (project / "log").read_text()
