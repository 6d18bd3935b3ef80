"""The fixtures: generated projects, and the programs that a test needs."""

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from . import noticing
from .boot import PROGRAMS, Machine
from .boot import program as debian_program
from .chain import Chain
from .host import CERTIFICATE, TURNS, UNIT, Host
from .repository import clone_as_it_lies
from .supervised import SupervisedChain
from .template import Answers, generate, name_of

Generate = Callable[..., Path]
Booted = Callable[..., contextlib.AbstractContextManager[tuple[Machine, Path]]]
Test = Callable[..., None]

# What reached the application, told by a plain Bottle handler with the headers that are asked for.
ECHO = """
    def echo() -> dict[str, str]:
        from bottle import request, response

        response.headers.update(request.query)
        seen = request.environ
        return {name: str(seen[name]) for name in seen if name.isupper() or name == "wsgi.url_scheme"}

    for method in ("GET", "POST"):
        app.route("/echo", method, echo, raw=True, public=True)
"""


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's Cookiecutter settings out, and what it leaves behind in a place of ours."""
    home = tmp_path_factory.mktemp("home")
    config = home / "cookiecutter.yaml"
    config.write_text(f"cookiecutters_dir: {home}/templates\nreplay_dir: {home}/replay\n")
    os.environ["COOKIECUTTER_CONFIG"] = str(config)
    # The programs of this environment come first, as after activating it.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name in ("APP_ENV", "BIND", "PORT", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH"):
        os.environ.pop(name, None)
    # Cookiecutter never removes the hooks it has rendered. The kernel wants short paths of sockets.
    with tempfile.TemporaryDirectory(prefix="t") as directory:
        os.environ["TMPDIR"] = directory
        yield


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generate:
    """Return the project for these answers; the same answers give the same directory."""
    made: dict[tuple[tuple[str, str], ...], Path] = {}

    def project(**answers: str) -> Path:
        key = tuple(sorted(answers.items()))
        if key not in made:
            made[key] = generate(tmp_path_factory.mktemp("generated"), Answers(answers))
        return made[key]

    return project


@pytest.fixture
def copied(generated: Generate, tmp_path: Path) -> Generate:
    """Return a copy of the project for these answers, to be worked in."""

    def copy(**answers: str) -> Path:
        source = generated(**answers)
        return Path(shutil.copytree(source, tmp_path / source.name))

    return copy


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of the template, whose last commit is the working tree."""
    return clone_as_it_lies(tmp_path_factory.mktemp("template") / "cookiecutter-bottle-service")


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """Leave the test out where a program is missing; with REQUIRE_ALL=1 that is a failure."""

    def check(*programs: str, also: bool = True, reason: str = "") -> None:
        missing = [program for program in programs if not shutil.which(program)]
        if missing or not also:
            why = reason if not also else f"not installed: {', '.join(missing)}"
            if os.environ.get("REQUIRE_ALL") == "1":
                pytest.fail(f"REQUIRE_ALL=1, but {why}")
            pytest.skip(why)

    return check


def pytest_configure(config: pytest.Config) -> None:
    if noticing.GIVEN:
        config.pluginmanager.register(noticing)


class _Places(LoadScopeScheduling):  # type: ignore[misc]
    """What shares a machine, or else a file, is kept together where tests run side by side."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        machine = re.search(rf"\b(?:{'|'.join(map('-'.join, MACHINES))})\b", name)
        return machine[0] if machine else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Places:
    return _Places(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what wants a chain for each of the answers that its module names."""
    if "chain" in metafunc.fixturenames:
        chains = metafunc.module.CHAINS
        metafunc.parametrize("served", chains, ids=name_of, indirect=True, scope="module")
        if noticing.GIVEN:
            metafunc.parametrize("chain", noticing.GIVEN, indirect=True, scope="module")


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest,
    generated: Generate,
    needs: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Chain]:
    """The service, started; to come, Nginx with what the module's `changed` replaces in its files.

    With `nginx` among the answers it is Debian 13's; else this host's.
    """
    needs("nginx", "openssl")
    directory = tmp_path_factory.mktemp("chain")
    project = directory / "project"
    answers = dict(request.param)
    program = None
    if answers.pop("nginx", ""):
        needs("mmdebstrap", also=os.getuid() == 0, reason="only root can make a Debian")
        program = debian_program("trixie", "usr/sbin/nginx")
    shutil.copytree(generated(**answers), project)
    with (project / "src/my_service/routes/__init__.py").open("a") as table:
        table.write(ECHO)
    change = getattr(request.module, "changed", None)
    changed = change(project) if change else None
    kind = SupervisedChain if (project / "deploy/supervisor").exists() else Chain
    with kind(project, directory, changed=changed, program=program).serving() as chain:
        yield chain


@pytest.fixture(scope="module")
def chain(request: pytest.FixtureRequest, served: Chain) -> Iterator[Chain]:
    """Nginx and the service, started; with a fault, where some are given."""
    fault = getattr(request, "param", None)
    with contextlib.ExitStack() as stack:
        if fault:
            stack.enter_context(noticing.with_fault(served, fault))
        yield stack.enter_context(served.behind_nginx())


@pytest.fixture(scope="session")
def booted(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Booted:
    """Return what boots a machine of a suite, beside a directory, under a name of its own."""

    @contextlib.contextmanager
    def boot(suite: str, name: str = "") -> Iterator[tuple[Machine, Path]]:
        needs(*PROGRAMS, also=os.getuid() == 0, reason="only root can boot a machine")
        directory = tmp_path_factory.mktemp("boot")
        with Machine(suite, directory, name) as machine:
            yield machine, directory

    return boot


MACHINES = [
    ("trixie", "gunicorn"),
    ("trixie", "waitress"),
    ("trixie", "uwsgi"),
    ("bookworm", "gunicorn"),
    ("bookworm", "waitress"),
    ("bookworm", "uwsgi"),
]


def on(*which: int) -> pytest.MarkDecorator:
    machines = [MACHINES[index] for index in which]
    return pytest.mark.parametrize("host", machines, ids="-".join, indirect=True)


# For what depends neither on the server nor on the suite.
once = on(0)
# For what differs by how the server starts and ends.
on_each_server = on(0, 1, 2)
# For what takes long: the last two are there for test_boot.py.
on_most = on(0, 1, 2, 3)
# For those that can listen on a port.
on_http = on(0, 1, 3)
with_workers = on(0, 2, 3)
with_gunicorn = on(0, 3)


def event(test: Test) -> Test:
    """Have `make events` select the test, and run it three times."""
    marked: Test = pytest.mark.event(pytest.mark.usefixtures("turn")(test))
    return marked


@pytest.fixture(params=range(TURNS))
def turn() -> None:
    """Each of the times that a test is run."""


@pytest.fixture(scope="session", params=MACHINES, ids="-".join)
def host(
    request: pytest.FixtureRequest,
    generated: Generate,
    booted: Booted,
) -> Iterator[Host]:
    """Return a booted machine with the project, not installed: test_boot.py begins with that."""
    suite, server = request.param
    with booted(suite) as (machine, directory):
        host = Host(machine, generated(wsgi_server=server), directory, server)
        yield host
        print(host.table())


@pytest.fixture
def installed(host: Host) -> Host:
    """Return a booted machine on which the service runs."""
    if not (host.machine.root / CERTIFICATE).exists():
        host.install("--self-signed")
    if host.show("ActiveState") != ["active"]:
        host.start()
    # The starts of one test do not count against the next.
    host.inside("systemctl", "reset-failed", UNIT)
    return host
