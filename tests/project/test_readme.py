"""Commands and examples of the generated README."""

import re

from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.markdown import blocks
from ..support.process import check_types, run


def test_suite_passes_in_an_unusual_environment(copied: Generate) -> None:
    """Without UTF-8, and with the directory of another program's metrics that is gone."""
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run("pytest", cwd=copied(), PROMETHEUS_MULTIPROC_DIR="/gone", **environ)


def test_readme_route_example_works(copied: Generate) -> None:
    project = copied()
    routes = project / "src/my_service/routes"
    handler, line, plain = blocks(project, "README.md", "Add a route", "python")
    (routes / "clock.py").write_text(handler)
    (routes / "plain.py").write_text(plain)
    table = routes / "__init__.py"
    table.write_text(
        table.read_text().replace("from . import ", "from . import clock, plain, ")
        + line
        + '    app.route("/plain", ["GET", "PUT"], plain.echo, raw=True, public=True)\n'
    )
    test = project / "tests" / "test_clock.py"
    test.write_text(
        "from webtest import TestApp\n\n\n"
        "def test_clock(client: TestApp) -> None:\n"
        '    assert client.get("/api/v1/time").json["now"].endswith("Z")\n'
        '    assert client.put("/plain").text == "PUT\\n"\n'
    )
    run("ruff", "format", cwd=project)
    run("ruff", "check", "--fix", cwd=project)
    check_types(project)
    assert "1 passed" in run("pytest", "tests/test_clock.py", cwd=project)
    run("pytest", cwd=project)


# A part of other targets, and former names.
UNLISTED = {"packages", "live", "upgrade", "update"}


def test_make_help_lists_all_targets(generated: Generate) -> None:
    for directory in (TEMPLATE, generated()):
        makefile = (directory / "Makefile").read_text()
        (targets,) = re.findall(r"^\.PHONY: (\w.*)$", makefile, re.MULTILINE)
        listed = run("make", "help", cwd=directory).splitlines()
        names = {name for line in listed for name in re.split(" {2,}", line)[0].split()}
        assert names == {*targets.split()} - UNLISTED


def test_make_ci_runs_all_checks(generated: Generate) -> None:
    makefile = (generated() / "Makefile").read_text()
    assert re.findall(r"^ci: ([a-z -]+) ##", makefile, re.MULTILINE) == ["lint test test-server"]
