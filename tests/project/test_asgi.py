"""ASGI recipe of docs/asgi.md: the shared cases pass against the server that it starts."""

import http.client
import os
import re
import secrets
import subprocess

from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.markdown import blocks
from ..support.process import free_port, run, wait_until_ready

(CODE,) = blocks(TEMPLATE, "docs/asgi.md", "", "python")
(COMMAND,) = blocks(TEMPLATE, "docs/asgi.md")


def test_asgi_recipe_works(copied: Generate) -> None:
    project = copied()
    (project / "src" / "my_service" / "asgi.py").write_text(CODE)
    port, token = free_port(), secrets.token_hex(32)
    settings = {"API_TOKENS": f"tester:{token}", "TRUSTED_PROXY_COUNT": "1", "PYTHONPATH": "src"}
    settings |= {"DATABASE_URL": f"sqlite:///{project}/asgi.sqlite3"}
    run("python", "-m", "my_service", "migrate", cwd=project, **settings)
    run("python", "-m", "my_service", "check", cwd=project, **settings)
    command = COMMAND.replace("8000", str(port)).split()
    with (project / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=project, env={**os.environ, **settings}, stdout=log, stderr=log
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}")
        connection = http.client.HTTPConnection("127.0.0.1", port)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = iter([b"{}"])  # without a length, http.client sends it chunked
        connection.request("POST", "/api/v1/notes", body, headers, encode_chunked=True)
        assert connection.getresponse().status == 411
        connection.close()
        other = "not not-utf8"
        cases = run(
            "pytest",
            "--server",
            f"http://127.0.0.1:{port}",
            "--token",
            token,
            "-k",
            other,
            cwd=project,
        )
    finally:
        server.terminate()
        server.wait(20)
    assert re.search(r"^[0-9]{2} shared cases passed", cases, re.MULTILINE)
    assert "Traceback" not in (project / "log").read_text()
