"""The readiness check when a dependency fails."""

import pytest

from bottle_service.http import Problem

from {{ cookiecutter.package_name }}.routes import health


def fail() -> None:
    raise ConnectionError("the cache at 192.0.2.1 refuses connections")


def test_readiness_with_failing_check_is_503_that_names_the_check() -> None:
    with pytest.raises(Problem) as raised:
        health.ready({"database": lambda: None, "cache": fail})
    assert raised.value.status_code == 503
    assert raised.value.detail == "The check 'cache' fails."
    assert raised.value.headers["Retry-After"] == "5"
    assert isinstance(raised.value.__cause__, ConnectionError)
