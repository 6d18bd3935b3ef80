"""Commands and examples of the generated README."""

import re
import subprocess
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs
from ..support.generate import PROJECT, TEMPLATE
from ..support.markdown import blocks
from ..support.process import check_types, find_python, run
from ..support.shared_venv import use_shared_venv

# workflows/ runs the suites on 3.11 and 3.13; debian/test_pythons.py on 3.14 and 3.15 where this host
# has neither.
PYTHONS = [version for version in ("3.12", "3.14", "3.15") if find_python(version)]


@pytest.mark.parametrize("version", PYTHONS)
def test_suite_on_each_installed_python_passes(copied: Generate, version: str) -> None:
    python = find_python(version)
    assert python
    project = copied()
    run("make", "test", cwd=project, PYTHON=python)
    assert (project / f".venv/lib/python{version}").is_dir()


def test_suite_passes_in_an_unusual_environment(copied: Generate) -> None:
    """Without UTF-8, and with the directory of another program's metrics that is gone."""
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run("pytest", cwd=copied(), PROMETHEUS_MULTIPROC_DIR="/gone", **environ)


VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
# uv's names of the platforms in the README.
GLIBC = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
MUSL = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
MACOS = ("aarch64-apple-darwin", "x86_64-apple-darwin")
# Locked packages without a wheel there.
LACKING = {
    "pyuwsgi": [(platform, "3.15") for platform in (*GLIBC, *MUSL, *MACOS)],
    "grimp": [(platform, "3.15") for platform in MUSL],
}


def find_wheels(lock: str, platform: str, version: str, directory: Path) -> str:
    """Return uv's message if a locked package has no wheel; nothing is downloaded or installed."""
    (directory / "lock.txt").write_text(lock)
    done = subprocess.run(
        [
            "uv", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes",
            "--python-platform", platform, "--python-version", version, "--target", directory, "-r", "lock.txt",
        ],
        cwd=directory, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


@pytest.mark.parametrize("platform", [*GLIBC, *MUSL, *MACOS])
def test_locks_have_wheels(tmp_path: Path, platform: str) -> None:
    """Both locks of every combination of answers; it needs no interpreter of these versions."""
    locks = [PROJECT / name for name in ("requirements.txt", "requirements-dev.txt")]
    lock = "".join(re.sub(r"(?m)^# <%.*\n", "", path.read_text()) for path in locks)
    for version in VERSIONS:
        complete = lock
        for package, places in LACKING.items():
            if (platform, version) in places:
                entry = re.findall(rf"(?m)^{package}==.*\n(?: .*\n)+", complete)
                assert package in find_wheels("".join(entry), platform, version, tmp_path)
                complete = complete.replace(entry[0], "")
        assert find_wheels(complete, platform, version, tmp_path) == ""


@pytest.mark.parametrize("platform", [*GLIBC, *MACOS])
def test_lock_of_the_template_has_wheels(tmp_path: Path, platform: str) -> None:
    lock = (TEMPLATE / "requirements.txt").read_text()
    for version in (VERSIONS[0], VERSIONS[-1]):
        assert find_wheels(lock, platform, version, tmp_path) == ""


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


def test_readme_migration_example_works(copied: Generate, needs: Needs) -> None:
    project = copied()
    use_shared_venv(project)
    run("make", "migrate", cwd=project)
    models = project / "src/my_service/models.py"
    models.write_text(models.read_text() + "    colour: Mapped[str | None]\n")
    run("make", "migration", 'MESSAGE=A "colour" for `notes`', cwd=project)
    (written,) = (project / "src/my_service/migrations/versions").glob("0002_a_colour_for_notes.py")
    assert written.read_text().startswith("""'A "colour" for `notes`.'\n""")
    assert "'colour'" in written.read_text().replace('"', "'")
    run("make", "migrate", cwd=project)
    run("make", "lint", "test", cwd=project)


def test_readme_commands_list_routes_and_check(copied: Generate) -> None:
    project = copied()
    (listing,) = blocks(project, "README.md", "Every day")
    use_shared_venv(project)
    (project / ".env").write_text(f"API_TOKENS=me:{'s' * 32}\n")
    assert "/livez" in run("sh", "-c", listing, cwd=project)
    run("sh", "-c", listing.replace(" routes", " migrate"), cwd=project)
    assert "could start" in run("sh", "-c", listing.replace(" routes", " check"), cwd=project)
    (commands,) = blocks(project, "AGENTS.md", "Commands")
    run("sh", "-ec", commands, cwd=project)


# A part of other targets, and former names.
UNLISTED = {"packages", "live", "upgrade", "update"}


def test_make_help_lists_all_targets(generated: Generate) -> None:
    for directory in (TEMPLATE, generated()):
        makefile = (directory / "Makefile").read_text()
        (targets,) = re.findall(r"^\.PHONY: (\w.*)$", makefile, re.MULTILINE)
        listed = run("make", "help", cwd=directory).splitlines()
        names = {name for line in listed for name in re.split(" {2,}", line)[0].split()}
        assert names == {*targets.split()} - UNLISTED


def run_former(project: Path, former: str, present: str) -> str:
    """Run a target by its former name, check its line on stderr, and return its stdout."""
    command = ["make", former]
    done = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"make {former} is now called make {present}; " in done.stderr
    return done.stdout


def test_make_live_runs_make_test_server(copied: Generate) -> None:
    printed = run_former(copied(database="none"), "live", "test-server")
    assert printed.count("shared cases passed") == 2


def test_make_upgrade_runs_make_upgrade_deps(copied: Generate) -> None:
    project = copied(database="none")
    lock = project / "requirements.txt"
    lock.write_text(re.sub(r"(?m)^msgspec==\S+", "msgspec==0.20.0", lock.read_text()))
    run_former(project, "upgrade", "upgrade-deps")
    assert "msgspec==" in lock.read_text()
    assert "msgspec==0.20.0" not in lock.read_text()


def test_make_ci_runs_all_checks(generated: Generate) -> None:
    makefile = (generated() / "Makefile").read_text()
    assert re.findall(r"^ci: ([a-z -]+) ##", makefile, re.MULTILINE) == ["lint test test-server"]
