"""docs/how-to/split-routes.md: the routes, the check of hidden ones, and the contract of imports."""

import os
import subprocess

from ..support.fixtures import Generate
from ..support.matrix import SMALLEST
from .steps import check, follow


def test_routes_can_be_split(copied: Generate) -> None:
    project = copied(**SMALLEST)
    (output,) = follow(project, "split-routes.md")
    assert "/api/v1/visits/totals" in output
    check(project, "tests/test_visits.py")

    def fails(*command: str) -> str:
        environ = {**os.environ, "APP_ENV": "development", "PYTHONPATH": "src"}
        done = subprocess.run(
            command, cwd=project, env=environ, check=False, capture_output=True, text=True
        )
        assert done.returncode != 0
        return done.stdout + done.stderr

    routes = project / "src/my_service/routes"
    totals, table = routes / "visits/totals.py", routes / "visits/__init__.py"
    totals.write_text(
        totals.read_text().replace("from msgspec", "from .. import pages\nfrom msgspec")
    )
    assert "the packages of routes are independent" in fails(".venv/bin/lint-imports", "--no-cache")
    hidden = f'{table.read_text()}    app.route("/livez", "GET", totals.show, public=True)\n'
    table.write_text(hidden)
    assert "is hidden by" in fails(".venv/bin/python", "-m", "my_service", "check")
