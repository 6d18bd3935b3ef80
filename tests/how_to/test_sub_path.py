"""docs/how-to/sub-path.md: its tests, and Nginx in front of the started service."""

import re
from pathlib import Path

from ..support.fixtures import Generate, Needs
from ..support.nginx_stack import NginxStack
from .steps import check, follow


def test_service_can_have_a_sub_path(copied: Generate, needs: Needs, tmp_path: Path) -> None:
    needs("nginx", "openssl")
    project = copied(database="none")
    follow(project, "sub-path.md")
    check(project)
    routes = project / "src/my_service/routes/__init__.py"
    text = routes.read_text().replace("greetings.create)", 'greetings.create, location="/created")')
    routes.write_text(text)
    directory = tmp_path / "stack"
    directory.mkdir()
    with NginxStack(project, directory).service_running() as stack, stack.nginx_running():
        page = stack.get("/app/")
        assert page.status == 200
        page.check_headers()
        (stylesheet,) = re.findall('href="(/app/static/[^"]+)"', page.body.decode())
        static = stack.get(stylesheet)
        assert static.status == 200
        assert static.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert stack.get("/app/static/app.css").headers["Cache-Control"] == "no-cache"
        headers = {"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"}
        greeting = stack.request("POST", "/app/api/v1/greetings", b'{"name": "Ada"}', **headers)
        assert (greeting.status, greeting.headers["Location"]) == (200, "/app/created")
        stack.get("/app/nothing").check_problem(404)
        outside = ["/", "/livez", "/metrics", "/app/metrics", "/static/app.css", "/application"]
        assert {path: stack.get(path, **headers).status for path in outside} == dict.fromkeys(
            outside, 404
        )
