"""Commands of the generated README and AGENTS.md in a project that has its own `.venv`."""

import re
import subprocess
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs
from ..support.markdown import blocks
from ..support.process import find_python, run
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


def test_readme_migration_example_works(copied: Generate, needs: Needs) -> None:
    project = copied()
    use_shared_venv(project)
    run("make", "migrate", cwd=project)
    models = project / "src/my_service/models.py"
    models.write_text(models.read_text() + "    colour: Mapped[str | None]\n")
    unfinished = project / "src/my_service/unfinished.py"
    unfinished.write_text("l = {}\nimport os\n")
    run("make", "migration", 'MESSAGE=A "colour" for `notes`', cwd=project)
    assert unfinished.read_text() == "l = {}\nimport os\n"
    unfinished.unlink()
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
