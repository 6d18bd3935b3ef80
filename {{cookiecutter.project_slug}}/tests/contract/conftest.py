"""Fixtures of the template's tests."""

import pytest
from webtest import TestApp

from ..conftest import ADMIN_TOKEN
from .service import ECHO


@pytest.fixture
def echo_path(client: TestApp, pytestconfig: pytest.Config) -> str:
    """The path of the tests' own route: it requires a token, and returns its JSON body."""
    is_deployed = "://" in (pytestconfig.getoption("--server") or "")
    if is_deployed and client.get(ECHO, expect_errors=True).status_int == 404:
        pytest.skip("the server lacks the routes of the tests: see tests/contract/service")
    return ECHO


@pytest.fixture
def metrics_client(client: TestApp, pytestconfig: pytest.Config) -> TestApp:
    """A client that sends ADMIN_TOKEN."""
    if "://" in (pytestconfig.getoption("--server") or ""):
        pytest.skip("a deployed service publishes /metrics on its own host only")
    admin = TestApp(client.app)
    admin.authorization = ("Bearer", ADMIN_TOKEN)
    return admin
