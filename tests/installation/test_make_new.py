"""`make new` on a terminal: valid and invalid answers, interrupts, existing files, no index."""

import shutil
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..support.files import nothing_written
from ..support.fixtures import Generate
from ..support.generate import CONTEXT, PUBLIC, TEMPLATE
from ..support.process import free_port, plain_path, run
from ..support.terminal import Terminal

AUTHOR = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "user.name",
    "GIT_CONFIG_VALUE_0": "Grace {{ Hopper",
    "GIT_CONFIG_KEY_1": "user.email",
    "GIT_CONFIG_VALUE_1": "grace@example.org",
}
# A package index that rejects connections, for pip and uv.
NO_INDEX = {
    "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9",
    "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0", "UV_DEFAULT_INDEX": "http://127.0.0.1:9",
    "UV_NO_CACHE": "1", "UV_NO_CONFIG": "1", "UV_HTTP_RETRIES": "0",
}  # fmt: skip
INVALID = {
    "project_name": ('It"s', "It's {{ 6*7 }} # <% if"),
    "project_slug": ("../evil", "right"),
    "package_name": ("class", "right_one"),
    "description": ("back\\slash", "Ünïcödé 🙂"),
    "author_name": ('a"b', "O'Brien & Söhne"),
    "author_email": ("me@host", "me@host.example"),
    "domain_name": ("localhost", "right.example.com"),
}


New = Callable[..., Terminal]


@pytest.fixture
def new() -> Iterator[New]:
    """Return a function that starts `make new` with the tests' environment."""
    started: list[Terminal] = []

    def start(to: Path, *before: str) -> Terminal:
        options = ["-o", ".venv/ready", f"BIN={Path(sys.executable).parent}", f"TO={to}"]
        environ = {"PWD": str(TEMPLATE), **AUTHOR}
        started.append(Terminal(*before, "make", *options, "new", cwd=TEMPLATE, **environ))
        return started[-1]

    yield start
    for terminal in started:
        if terminal.process.poll() is None:
            terminal.interrupt()


def wait_for_prompt(terminal: Terminal, name: str) -> None:
    """Wait for the prompt of an answer."""
    prompt = CONTEXT["__prompts__"][name]
    words = prompt if isinstance(prompt, str) else prompt["__prompt__"]
    terminal.read_until(words[:40], 20)
    terminal.read_until("): ", 20)


def answer_all(terminal: Terminal) -> None:
    """Accept the default of each answer."""
    for name in PUBLIC:
        wait_for_prompt(terminal, name)
        terminal.type("\n")
    terminal.read_until("Generate it?", 20)


def test_printed_next_steps_start_the_service(new: New, tmp_path: Path) -> None:
    terminal = new(tmp_path)
    answer_all(terminal)
    assert list(tmp_path.iterdir()) == []
    terminal.type("y\n")
    terminal.end()
    project = tmp_path / "my-service"
    metadata = tomllib.loads((project / "pyproject.toml").read_text())
    author = {"name": "Grace {{ Hopper", "email": "grace@example.org"}
    assert metadata["project"]["authors"] == [author]

    steps = terminal.text.partition("Next:")[2].split("\n\n")[1]
    assert [line.split()[0] for line in steps.splitlines()] == ["cd", "git", "make"]
    here = f"127.0.0.1:{free_port()}"
    shell = Terminal("sh", "-ec", steps, cwd=TEMPLATE, BIND=here, **AUTHOR)
    try:
        shell.read_until("Press Ctrl-C to stop.", 120)
        with urllib.request.urlopen(f"http://{here}/livez") as response:
            assert response.status == 200
    finally:
        shell.interrupt()
    assert run("git", "status", "--porcelain", cwd=project) == ""
    assert run("git", "log", "--format=%s", cwd=project) == "Generate the service\n"


def test_invalid_answers_are_asked_again(new: New, tmp_path: Path) -> None:
    terminal = new(tmp_path)
    with nothing_written(tmp_path):
        for name in PUBLIC:
            invalid, valid = INVALID.get(name, ("nothing", "1"))
            wait_for_prompt(terminal, name)
            terminal.type(f"{invalid}\n")
            message = f"        {name} must" if name in INVALID else "select one of the available"
            terminal.read_until(message, 20)
            wait_for_prompt(terminal, name)
            terminal.type(f"{valid}\n")
        terminal.read_until("Generate it?", 20)
        terminal.type("perhaps\n")
        terminal.read_until("y generates, n cancels, a number asks again", 20)
        terminal.type("2\n")
        wait_for_prompt(terminal, "project_slug")
        terminal.type("righter\n")
        terminal.read_until("Generate it?", 20)
    terminal.type("\n")
    terminal.end()
    assert terminal.process.returncode == 0, terminal.text
    metadata = tomllib.loads((tmp_path / "righter" / "pyproject.toml").read_text())["project"]
    assert metadata["description"] == "Ünïcödé 🙂"
    assert metadata["authors"] == [{"name": "O'Brien & Söhne", "email": "me@host.example"}]
    readme = (tmp_path / "righter" / "README.md").read_text()
    assert readme.startswith("# It's {{ 6*7 }} # <% if\n")
    assert (tmp_path / "righter" / "src" / "right_one").is_dir()


def test_changed_answer_updates_dependent_answers(new: New, tmp_path: Path) -> None:
    """A dependent answer that became invalid is asked again."""
    terminal = new(tmp_path)
    answer_all(terminal)
    terminal.type("1\n")
    wait_for_prompt(terminal, "project_name")
    terminal.type("Json\n")
    wait_for_prompt(terminal, "package_name")
    terminal.type("reader\n")
    terminal.read_until("domain_name   json.example.com", 20)
    terminal.interrupt()


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_interrupt_writes_nothing(new: New, tmp_path: Path, key: str) -> None:
    with nothing_written(tmp_path):
        terminal = new(tmp_path / "new")
        for name in PUBLIC[:6]:
            wait_for_prompt(terminal, name)
            terminal.type("\n")
        wait_for_prompt(terminal, PUBLIC[6])
        terminal.type(key)
        terminal.end()
    assert "\nNothing was written.\n" in terminal.text
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("reply", ["n", "No"])
def test_no_writes_nothing(new: New, tmp_path: Path, reply: str) -> None:
    with nothing_written(tmp_path):
        terminal = new(tmp_path)
        answer_all(terminal)
        terminal.type(f"{reply}\n")
        terminal.end()
    assert "\nNothing was written.\n" in terminal.text


def test_full_disk_leaves_nothing(new: New, tmp_path: Path) -> None:
    """A limit on the size of files has the same effect. Files written before are removed."""
    with nothing_written(tmp_path):
        terminal = new(tmp_path, "sh", "-c", 'ulimit -f 40; exec "$@"', "sh")
        answer_all(terminal)
        terminal.type("y\n")
        terminal.end()
    assert "ERROR: [Errno 27] File too large; nothing was written." in terminal.text
    assert "Traceback" not in terminal.text


def test_existing_name_is_asked_again(new: New, tmp_path: Path) -> None:
    (tmp_path / "my-service").mkdir()
    (tmp_path / "my-service" / "mine").write_text("mine")
    terminal = new(tmp_path)
    with nothing_written(tmp_path):
        wait_for_prompt(terminal, "project_name")
        terminal.type("\n")
        wait_for_prompt(terminal, "project_slug")
        terminal.type("\n")
        terminal.read_until("exists and is left alone; give another name, or another place", 20)
        wait_for_prompt(terminal, "project_slug")
        terminal.type("other\n" + "\n" * (len(PUBLIC) - 2))
        terminal.read_until("Generate it?", 20)
    terminal.type("y\n")
    terminal.end()
    assert (tmp_path / "other" / "src" / "other").is_dir()


def test_invalid_target_directory_is_rejected(new: New, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    terminal = new(tmp_path / "file" / "below")
    terminal.end()
    assert f"ERROR: {tmp_path}/file is not a directory that you can write to" in terminal.text
    assert "What is" not in terminal.text


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_missing_package_index_is_reported(generated: Generate, tmp_path: Path, tool: str) -> None:
    """The template's and the project's make print the remedy last."""
    uv = tmp_path / "bin" / tool
    uv.parent.mkdir()
    uv.symlink_to(shutil.which(tool) or "")
    path = f"{uv.parent}:{plain_path()}"
    own = tmp_path / "template"
    own.mkdir()
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(TEMPLATE / name, own)
    project = shutil.copytree(generated(), tmp_path / "project")
    tried = [(own, "new")] if tool == "pip" else [(own, "demo"), (project, "run")]  # pip is slow
    for directory, goal in tried:
        terminal = Terminal("make", goal, cwd=directory, PATH=path, **NO_INDEX)
        terminal.end()
        lines = terminal.text.splitlines()
        assert lines[0].startswith("setting up "), terminal.text
        assert [line.split()[0] for line in lines[-4:]] == [
            "ERROR:",
            "If",
            "PIP_INDEX_URL",
            "make:",
        ]
        assert "Traceback" not in terminal.text
        assert not (directory / ".venv" / "ready").exists()


def test_cookiecutter_command_reports_all_invalid_answers(tmp_path: Path) -> None:
    terminal = Terminal(sys.executable, "-m", "cookiecutter", str(TEMPLATE), cwd=tmp_path)
    with nothing_written(tmp_path):
        for name in PUBLIC:
            wait_for_prompt(terminal, name)
            terminal.type(f"{INVALID[name][0] if name in INVALID else ''}\n")
        terminal.end()
    messages = terminal.text.partition("ERROR: nothing was generated.\n")[2].splitlines()
    assert sorted(line.split()[0] for line in messages[: len(INVALID)]) == sorted(INVALID)
