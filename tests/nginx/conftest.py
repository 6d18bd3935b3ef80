"""Fixtures of the Nginx stack: one for each combination of answers that a module names in STACKS."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..mutation import plugin
from ..support.debian_tree import program as debian_program
from ..support.fixtures import Generate, Needs
from ..support.generate import name_of
from ..support.nginx_stack import NginxStack
from ..support.supervisord_stack import SupervisordStack

ECHO_ROUTE = Path(__file__).with_name("echo_route.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a stack for the answers that its module names, and for each given mutant."""
    if "stack" in metafunc.fixturenames:
        stacks = metafunc.module.STACKS
        metafunc.parametrize("service", stacks, ids=name_of, indirect=True, scope="module")
        if plugin.MUTANTS:
            metafunc.parametrize("stack", plugin.MUTANTS, indirect=True, scope="module")


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest,
    generated: Generate,
    needs: Needs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[NginxStack]:
    """Start the service of a stack. Its Nginx, not yet started, has the module's `site_changes`.

    With `nginx` among the answers, the Nginx is Debian 13's; without it, this host's.
    """
    needs("nginx", "openssl")
    directory = tmp_path_factory.mktemp("stack")
    project = directory / "project"
    answers = dict(request.param)
    program = None
    if answers.pop("nginx", ""):
        needs("mmdebstrap", also=os.getuid() == 0, reason="only root can make a Debian tree")
        program = debian_program("trixie", "usr/sbin/nginx")
    shutil.copytree(generated(**answers), project)
    with (project / "src/my_service/routes/__init__.py").open("a") as routes:
        routes.write(ECHO_ROUTE.read_text().partition("def add_routes(app: Bottle) -> None:\n")[2])
    change = getattr(request.module, "site_changes", None)
    changed = change(project) if change else None
    kind = SupervisordStack if (project / "deploy/supervisor").exists() else NginxStack
    with kind(project, directory, changed=changed, program=program).service_running() as stack:
        yield stack


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, service: NginxStack) -> Iterator[NginxStack]:
    """Start Nginx in front of the service; with a mutant, if `make mutants` gives one."""
    mutant = getattr(request, "param", None)
    with contextlib.ExitStack() as context:
        if mutant:
            context.enter_context(plugin.with_mutant(service, mutant))
        yield context.enter_context(service.nginx_running())
